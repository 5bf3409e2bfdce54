"""Data sets on disk: check before a run that all it will read is there, and read it elsewhere.

Both work on the config alone, so they serve mmpretrain, mmdet and mmseg and cost no model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import UserError, some
from ..registry import type_name

PARTS = ("train", "val", "test")

# What a folder must look like, by type of data set. Others are described by the paths they lack.
LAYOUTS = {
    "ImageNet": """\
train/<class>/*.JPEG   1,281,167 images in 1,000 folders named by WordNet id (n01440764, ...)
val/<class>/*.JPEG     50,000 images, sorted into the same 1,000 folders
(or images anywhere below train/ and val/, with lists of 'path label' lines:
meta/train.txt, meta/val.txt)""",
    "CIFAR10": """\
cifar-10-python.tar.gz, or unpacked: cifar-10-batches-py/data_batch_1 to 5, test_batch
(nothing is downloaded for you: https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz)""",
    "CIFAR100": """\
cifar-100-python.tar.gz, or unpacked: cifar-100-python/train, test
(nothing is downloaded for you: https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz)""",
    "CocoDataset": """\
train2017/*.jpg   annotations/instances_train2017.json
val2017/*.jpg     annotations/instances_val2017.json
(the archives train2017, val2017 and annotations_trainval2017 of
https://cocodataset.org/#download, unpacked in one folder)""",
    "CocoPanopticDataset": """\
train2017/*.jpg   annotations/panoptic_train2017.json   annotations/panoptic_train2017/*.png
val2017/*.jpg     annotations/panoptic_val2017.json     annotations/panoptic_val2017/*.png
                  annotations/instances_val2017.json
(train2017, val2017, annotations_trainval2017 and panoptic_annotations_trainval2017 of
https://cocodataset.org/#download, the archives inside the last unpacked as well)""",
    "ADE20KDataset": """\
images/training/*.jpg     annotations/training/*.png
images/validation/*.jpg   annotations/validation/*.png
(ADEChallengeData2016.zip, unpacked:
http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip)""",
}
CIFAR10_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
ARCHIVES = {  # type: archive, and files of which it consists
    "CIFAR10": (
        "cifar-10-python.tar.gz",
        [f"cifar-10-batches-py/{name}" for name in CIFAR10_BATCHES],
    ),
    "CIFAR100": ("cifar-100-python.tar.gz", ["cifar-100-python/train", "cifar-100-python/test"]),
}
PACKAGES = {  # type: module that reads it, where to get it
    "CocoPanopticDataset": ("panopticapi", "git+https://github.com/cocodataset/panopticapi.git")
}

MADE_ON_FIRST_USE = ("DigitScenesDet", "DigitScenesSeg")


def check_data(cfg: Mapping, parts: tuple[str, ...] = PARTS) -> None:
    """Check that the files and folders exist which ``cfg`` reads for these parts of a run.

    Raises:
        UserError: One is missing. Says where it was looked for, which layout is expected and which
            option sets the folder. Or a package is missing that reads them.
    """
    missing: dict[tuple[str, str], list[Path]] = {}  # (type, data_root): paths
    for part in parts:
        for dataset in leaf_datasets(cfg.get(f"{part}_dataloader")):
            name = type_name(dataset) or "data set"
            found = missing.setdefault((name, dataset.get("data_root") or ""), [])
            paths = missing_paths(dataset)
            if name in LAYOUTS:  # others may make their files when they are built
                paths += missing_for_scores(cfg.get(f"{part}_evaluator"))
            found += [path for path in paths if path not in found]
    for (name, root), paths in missing.items():
        if paths:
            raise UserError(_message(name, root, paths))
    for name, _ in missing:
        module, source = PACKAGES.get(name, ("", ""))
        if module and find_spec(module) is None:
            raise UserError(f"{name} needs the package {module}: pip install {source}")


def set_data_root(cfg: Any, root: str) -> None:
    """Make every data set of ``cfg``, and the metrics that read its annotations, read ``root``.

    Raises:
        UserError: The config reads no folder, or several different ones.
    """
    datasets = [d for part in PARTS for d in leaf_datasets(cfg.get(f"{part}_dataloader"))]
    datasets = [d for d in datasets if {"data_root", "data_prefix", "ann_file"} & set(d)]
    if not datasets:
        raise UserError(
            "--data-root: this config reads no data from a folder, so there is none to set"
        )
    old = {os.path.normpath(d["data_root"]) for d in datasets if d.get("data_root")}
    if len(old) > 1:
        raise UserError(
            f"--data-root: this config reads {len(old)} folders ({', '.join(sorted(old))}); set "
            "each with --cfg-options, for example train_dataloader.dataset.data_root=FOLDER"
        )
    for part in PARTS:
        for name in (f"{part}_dataloader", f"{part}_evaluator"):
            if old and cfg.get(name):
                if (moved := _moved(cfg[name], *old, root)) is not cfg[name]:
                    cfg[name] = moved
        for dataset in leaf_datasets(cfg.get(f"{part}_dataloader")):
            if {"data_root", "data_prefix", "ann_file"} & set(dataset):
                dataset["data_root"] = root


def leaf_datasets(node: Any) -> Iterator[Any]:
    """The data sets' configs inside a data loader's, with wrappers (RepeatDataset, ...) opened."""
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from leaf_datasets(child)
    elif isinstance(node, Mapping):
        inner = [node[key] for key in ("dataset", "datasets") if node.get(key)]
        if inner:
            yield from leaf_datasets(inner)
        else:
            yield node


def missing_paths(dataset: Mapping) -> list[Path]:
    """What the data set of this config would read from the disk and isn't there."""
    root, name = dataset.get("data_root") or "", type_name(dataset)
    if "://" in root or (dataset.get("backend_args") or {}).get("backend", "local") != "local":
        return []  # storage that only its own client can look into
    if name in MADE_ON_FIRST_USE:
        return []
    if name in ARCHIVES:
        archive, files = ARCHIVES[name]
        paths = [] if Path(root, archive).is_file() else [Path(root, file) for file in files]
        return [path for path in paths if not path.is_file()]

    annotation, prefixes = dataset.get("ann_file"), dataset.get("data_prefix") or ""
    if name == "ImageNet" and (split := dataset.get("split")):  # as mmpretrain's class reads it
        prefixes = prefixes or split
        if not annotation and Path(root, "meta", f"{split}.txt").is_file():
            annotation = f"meta/{split}.txt"
    by_class = name in ("ImageNet", "CustomDataset") and not annotation
    by_class = by_class and dataset.get("with_label", True) and dataset.get("split") != "test"

    paths = [Path(root, annotation)] if annotation else []
    paths = [path for path in paths if not path.is_file()]
    prefixes = list(prefixes.values()) if isinstance(prefixes, Mapping) else [prefixes]
    if not any([root, annotation, *prefixes]):
        return []  # reads nothing from the disk
    for folder in (Path(root, prefix) for prefix in prefixes if isinstance(prefix, str)):
        if not _has_entry(folder, is_folder=by_class):
            paths.append(folder / "<class>" if by_class else folder)
    return paths


def missing_for_scores(evaluator: Any) -> list[Path]:
    """Annotation files that metrics of this config would read and that aren't there."""
    metrics = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    files = [m["ann_file"] for m in metrics if isinstance(m, Mapping) and m.get("ann_file")]
    return [Path(file) for file in files if "://" not in file and not Path(file).is_file()]


def _has_entry(folder: Path, is_folder: bool) -> bool:
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(entry.is_dir() or not is_folder for entry in entries)


def _moved(node: Any, old: str, new: str) -> Any:
    """``node`` with every path below ``old`` moved below ``new``."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if (moved := _moved(value, old, new)) is not value:  # classes stay as they were named
                node[key] = moved
    elif isinstance(node, (list, tuple)):
        children = [_moved(child, old, new) for child in node]
        changed = any(a is not b for a, b in zip(children, node))
        return type(node)(children) if changed else node
    elif isinstance(node, str) and node.startswith(old + "/"):
        return os.path.join(new, node[len(old) + 1 :])
    return node


def _message(name: str, root: str, paths: list[Path]) -> str:
    folder = Path(root).absolute()
    layout = LAYOUTS.get(name, "")
    if not any(path.name in layout for path in paths):  # a user's own data in that format
        layout = ""
    lines = [f"{name} is not in {folder}" + ("" if folder.is_dir() else " (no such folder)")]
    if folder.is_dir() or not layout:
        missing = [os.path.relpath(path, root or ".") for path in paths]
        lines.append(f"  missing:  {some(missing, 4)}")
    if layout:
        lines.append("  expected: " + layout.replace("\n", "\n" + " " * 12))
    lines.append("Set the folder with --data-root FOLDER.")
    return "\n".join(lines)
