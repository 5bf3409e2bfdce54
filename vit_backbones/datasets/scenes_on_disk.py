"""Digit scenes as files, in the layouts that mmdet and mmseg read.

::

    <root>/img_dir/{train,val}/000000.png             the scenes
    <root>/ann_dir/{train,val}/000000.png             mmseg: 0 background, 1 + digit
    <root>/annotations/instances_{train,val}.json     COCO: boxes, and masks as run lengths
    <root>/scenes.json                                what made them; written last
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from mmengine.dist import barrier, is_main_process
from PIL import Image
from rich.console import Console
from rich.progress import track

from ..errors import UserError
from .scenes import CLASSES, Scene, compose_scene

VERSION = 3  # raise it whenever the same numbers make other scenes
MARKER = "scenes.json"
COUNTS = dict(train=6000, val=200)
SEED = 0


def ensure_scenes(root: str | Path, train: int | None = None, val: int | None = None) -> None:
    """Make the digit scenes in ``root`` unless they are there.

    They are made in a folder beside it that is renamed when it is complete: a process that is
    killed leaves nothing that could be taken for them, and the next one starts anew. Scenes of an
    older version are replaced. Of several processes one makes them while the others wait.

    Args:
        root: The folder, theirs alone.
        train, val: How many scenes; where ``root`` has others they are replaced. Default: as many
            as there are, or else `COUNTS`.

    Raises:
        UserError: ``root`` holds something else, or can't be written.
    """
    root, wanted = Path(root), dict(version=VERSION, seed=SEED)
    wanted |= {split: n for split, n in (("train", train), ("val", val)) if n is not None}
    if is_main_process() and not _are_there(root, wanted):
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            with _lock(root):
                if not _are_there(root, wanted):  # nor made by the one that we have waited for
                    _replace(root, {**COUNTS, **wanted})
        except OSError as error:
            raise UserError(
                f"cannot make the digit scenes in {root}: {error.strerror or error}; free some "
                "space or choose another folder with --data-root"
            ) from error
    barrier()


def write_scenes(root: Path, split: str, count: int, seed: int = SEED) -> None:
    """Write the first ``count`` scenes of ``split`` below ``root``, which has none of them yet."""
    for folder in ("img_dir", "ann_dir"):
        (root / folder / split).mkdir(parents=True)
    images, annotations = [], []
    console = Console(stderr=True)
    bar = dict(description=split, console=console, disable=not console.is_terminal)
    for index in track(range(count), **bar):
        scene = compose_scene(split, index, seed)
        name = f"{index:06d}.png"
        Image.fromarray(scene.image).save(root / "img_dir" / split / name, compress_level=1)
        Image.fromarray(scene.semantic_map).save(root / "ann_dir" / split / name)
        height, width = scene.image.shape[:2]
        images.append(dict(id=index, file_name=name, height=height, width=width))
        for annotation in coco_annotations(scene):
            number = len(annotations) + 1  # pycocotools takes an id of 0 for no match
            annotations.append(dict(id=number, image_id=index, **annotation))
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, start=1)]
    text = json.dumps(dict(images=images, annotations=annotations, categories=categories))
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_text(text)


def coco_annotations(scene: Scene) -> list[dict]:
    """The digits of a scene as COCO has them: category 1 is the digit 0."""
    return [
        dict(
            category_id=int(label) + 1,
            bbox=box.tolist(),
            area=int(mask.sum()),
            segmentation=dict(size=list(mask.shape), counts=run_lengths(mask)),
            iscrowd=0,
        )
        for label, box, mask in zip(scene.labels, scene.boxes, scene.masks, strict=True)
    ]


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths of a mask, bool (H, W): how many pixels are outside, inside,
    outside, ... down the columns, from left to right."""
    pixels = np.concatenate([[False], mask.T.ravel()])
    changes = np.flatnonzero(pixels[1:] != pixels[:-1])
    return np.diff([0, *changes, mask.size]).tolist()


def _made_with(root: Path) -> dict | None:
    """What the scenes in ``root`` were made with; None where there are none."""
    try:
        made = json.loads((root / MARKER).read_text())
    except (OSError, ValueError):
        return None
    return made if isinstance(made, dict) else None


def _are_there(root: Path, wanted: dict) -> bool:
    made = _made_with(root)
    return made is not None and wanted.items() <= made.items()


def _replace(root: Path, wanted: dict) -> None:
    """Make the scenes beside ``root``, then put them in its place."""
    if root.exists() and _made_with(root) is None and (root.is_file() or any(root.iterdir())):
        raise UserError(
            f"{root} exists and holds something other than digit scenes, which are made in a "
            "folder of their own; name another one, with --data-root for example"
        )
    print(f"Making {wanted['train']} + {wanted['val']} digit scenes in {root}", file=sys.stderr)
    partial = root.with_name(f"{root.name}.partial")
    for leftover in (partial, root.with_name(f"{root.name}.old")):
        shutil.rmtree(leftover, ignore_errors=True)
    for split in ("train", "val"):
        write_scenes(partial, split, wanted[split], wanted["seed"])
    (partial / MARKER).write_text(json.dumps(wanted))
    if root.exists():
        root.rename(root.with_name(f"{root.name}.old"))
    partial.rename(root)
    shutil.rmtree(root.with_name(f"{root.name}.old"), ignore_errors=True)


@contextmanager
def _lock(root: Path) -> Iterator[None]:
    """Only one process at a time; the system lets the next one in when a process ends or dies."""
    if os.name != "posix":
        yield
        return
    import fcntl

    with open(root.with_name(f".{root.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
