"""Images that cannot be read or are others than annotated: named, counted, and never silently part
of a score."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import Dataset

from ..errors import UserError, some
from ..registry import HOOKS

GIVE_UP_AFTER = 100  # unreadable images in a row: then it isn't the images


@HOOKS.register_module()
class UnreadableImagesHook(Hook):
    """Lets a run live with damaged or missing images in any data set of mmpretrain, mmdet and
    mmseg.

    * Training: the image is skipped (the data set draws another one at random in its place).
    * Validation during training: it is scored as a blank image, and each validation says so; a long
      run is not lost, and all its scores stay comparable with each other.
    * Test: likewise, but the run then ends with an error, because a score to be reported must be of
      the whole set.

    Each is noted in ``<work_dir>/unreadable_{train,val,test}_images.txt`` (path, tab, reason), also
    by worker processes and other ranks. At the end the run lists them. It acts on the image-loading
    transforms of the pipelines, so configs need no change.

    Raises:
        UserError: Test images are unreadable, or so many in a row that the path or the format must
        be wrong.
    """

    priority = "HIGHEST"  # a score must not be logged before it is known to be one

    def before_run(self, runner: Runner) -> None:
        self._notes = {}
        for mode in ("train", "val", "test"):
            loop = getattr(runner, f"_{mode}_loop")
            if not isinstance(loop, BaseLoop):  # not part of this run
                continue
            notes = self._notes[mode] = Path(runner.work_dir, f"unreadable_{mode}_images.txt")
            if is_main_process() and not runner._resume:
                notes.unlink(missing_ok=True)
            self.guard(loop.dataloader.dataset, mode)

    def guard(self, dataset: Dataset, mode: str) -> None:
        for inner in nested_datasets(dataset):
            make_tolerant(inner, self._notes[mode])

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if unreadable := read_notes(self._notes["val"]):
            size = len(runner.val_dataloader.dataset)
            runner.logger.warning(
                f"{len(unreadable)} of {size} validation images could not be read and were scored "
                f"as blank images:{listing(unreadable, self._notes['val'])}"
            )

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if unreadable := read_notes(self._notes["test"]):
            size = len(runner.test_dataloader.dataset)
            raise UserError(
                f"{len(unreadable)} of {size} test images could not be read, so there is no score "
                "of the whole test set. Restore them or take them out of the annotations:"
                + listing(unreadable, self._notes["test"])
            )

    def after_train(self, runner: Runner) -> None:
        if unreadable := read_notes(self._notes["train"]):
            size = len(runner.train_dataloader.dataset)
            runner.logger.warning(
                f"{len(unreadable)} of {size} training images could not be used and were skipped "
                f"(others were drawn in their place):{listing(unreadable, self._notes['train'])}"
            )


class TolerantLoading(BaseTransform):
    """An image-loading transform that notes an image which it cannot read, or in training one of
    another size than its annotation says, in place of ending the run.

    In training it returns None then, at which the data set draws another image; else a blank image.
    """

    def __init__(self, loading: LoadImageFromFile, notes: Path, blank: bool) -> None:
        self.loading, self.notes, self.blank = loading, notes, blank
        self._noted: set[str] = set()
        self._in_a_row = 0

    def transform(self, results: dict) -> dict | None:
        original = dict(results)
        reason = "cannot be decoded"
        try:
            loaded = self.loading(results)
        except AssertionError:  # so mmcv's loader says that it cannot decode the image
            loaded = None
        except Exception as error:
            loaded = None
            reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or repr(error)
        # in a test it has its score, as far off as its boxes are
        if loaded is not None and not self.blank and (fault := size_fault(original, loaded)):
            loaded, reason = None, fault
        if loaded is not None:
            self._in_a_row = 0
            return loaded
        self._note(str(original.get("img_path")), reason)
        return blank_image(original) if self.blank else None

    def _note(self, path: str, reason: str) -> None:
        self._in_a_row += 1
        if self._in_a_row >= GIVE_UP_AFTER:
            raise UserError(
                f"{self._in_a_row} images in a row could not be used, the last: {path} ({reason}). "
                "Does the data root (--data-root) hold the data set in the expected layout?"
            )
        if path not in self._noted:
            self._noted.add(path)
            # Short lines are appended whole, whichever processes append at the same time.
            with open(self.notes, "a") as file:
                file.write(f"{path}\t{reason}\n")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.loading!r})"


def size_fault(annotated: dict, loaded: dict) -> str | None:
    """What is wrong where the annotations, and so all boxes, are for an image of another size; a
    pixel, or one in a hundred, does not matter."""
    expected = annotated.get("height"), annotated.get("width")
    found = tuple(loaded["ori_shape"][:2]) if "ori_shape" in loaded else expected
    if None in expected or all(abs(a - b) <= max(1, 0.01 * a) for a, b in zip(expected, found)):
        return None
    turned = expected[::-1] == found
    return (
        f"has {found[1]} x {found[0]} pixels, its annotation is for {expected[1]} x {expected[0]}"
        + (" (turned by its EXIF orientation?)" if turned else "")
    )


def make_tolerant(dataset: Dataset, notes: Path) -> None:
    """Wrap the image-loading transforms of ``dataset``'s pipeline, once."""
    transforms = getattr(getattr(dataset, "pipeline", None), "transforms", [])
    for i, transform in enumerate(transforms):
        if isinstance(transform, LoadImageFromFile):
            blank = bool(getattr(dataset, "test_mode", False)) or "train" not in notes.name
            transforms[i] = TolerantLoading(transform, notes, blank)


def nested_datasets(dataset: Any) -> Iterator[Dataset]:
    """``dataset`` and those that it wraps (concatenated, repeated, mixed, ...)."""
    yield dataset
    inner = [getattr(dataset, name, None) for name in ("dataset", "_dataset")]
    for child in (*inner, *(getattr(dataset, "datasets", None) or ())):
        if child is not None and child is not dataset:
            yield from nested_datasets(child)


def blank_image(results: dict) -> dict:
    """``results`` with a black image of the size that the annotations tell (else 224 x 224)."""
    size = results.get("height"), results.get("width")
    if None in size and "seg_map_path" in results:
        from PIL import Image

        with Image.open(results["seg_map_path"]) as labels:
            size = labels.height, labels.width
    if None in size:
        size = 224, 224
    image = np.zeros((*size, 3), dtype=np.uint8)
    return {**results, "img": image, "img_shape": size, "ori_shape": size}


def read_notes(path: Path) -> dict[str, str]:
    """Path of each image that was noted -> reason."""
    if not path.exists():
        return {}
    lines = path.read_text().splitlines()
    return dict(line.split("\t", 1) for line in lines if "\t" in line)


def listing(unreadable: dict[str, str], notes: Path, at_most: int = 10) -> str:
    lines = (f"{path}: {reason}" for path, reason in sorted(unreadable.items()))
    first = some(lines, at_most, separator="\n  ")
    return f"\n  {first}\nAll are listed in {notes}."
