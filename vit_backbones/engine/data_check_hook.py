"""Data that does not fit the model: found before a run, or when a label map is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from torch import nn

from ..errors import UserError
from ..registry import HOOKS
from .unreadable_images_hook import nested_datasets
from .unwrapped import unwrapped

# of mmdet's detectors and mmseg's segmenters; a region proposal network knows no classes
HEADS = ("bbox_head", "roi_head", "mask_head", "panoptic_head", "decode_head", "auxiliary_head")


@HOOKS.register_module()
class DataCheckHook(Hook):
    """Refuses data that the model can't learn from, in words.

    * Before the run: a training set without an image; heads for another number of classes than the
      data sets have.
    * When mmseg's LoadAnnotations loads a label map: one that can't be read, is not of its image's
      size, or holds labels beyond the classes (they would end the run in the loss, on a GPU without
      a word on the cause, or be left out of the score).

    ``tools/train.py`` and ``tools/test.py`` add it to every run.

    Raises:
        UserError: As said.
    """

    priority = "HIGHEST"

    def before_run(self, runner: Runner) -> None:
        model = unwrapped(runner.model)
        for mode in ("train", "val", "test"):
            loop = getattr(runner, f"_{mode}_loop")
            if not isinstance(loop, BaseLoop):  # not part of this run
                continue
            dataset = loop.dataloader.dataset
            if mode == "train" and hasattr(dataset, "__len__") and not len(dataset):
                raise UserError(empty_message(dataset))
            check_class_count(model, getattr(dataset, "metainfo", None) or {}, mode)
            self.guard(dataset, mode)

    def guard(self, dataset: Any, mode: str) -> None:
        for inner in nested_datasets(dataset):
            check_label_maps(inner)


def check_class_count(model: nn.Module, metainfo: Mapping[str, Any], mode: str) -> None:
    """Check every head of a classifier, detector or segmenter for the number of classes of a data
    set.

    Raises:
        UserError: A head is for another number.
    """
    if hasattr(model, "language_model"):  # its heads are for words of a text, whatever the classes
        return
    expected = {len(metainfo.get("classes") or ())}
    if "stuff_classes" in metainfo:  # some heads are for things or for stuff alone
        things, stuff = len(metainfo["thing_classes"]), len(metainfo["stuff_classes"])
        expected |= {things, stuff, stuff + 1}
    for name, head in model.named_modules():
        count = getattr(head, "num_classes", None)
        if not isinstance(count, int) or "semantic" in name:
            continue
        # a classifier's may have outputs to spare, and a regression's are no classes
        is_classifiers = name == "head" and "Regression" not in type(head).__name__
        short = is_classifiers and count < max(expected)
        if not short and not name.startswith(HEADS):
            continue
        if expected != {0} and count not in expected:
            raise UserError(
                f"{name} ({type(head).__name__}) is for {count} classes, but the {mode} data set "
                f"has {len(metainfo['classes'])}. Set num_classes of the heads in the config, or "
                "metainfo=dict(classes=(...)) of the data sets"
            )


def check_label_maps(dataset: Any) -> None:
    """Make the label maps that ``dataset`` loads be checked, from now on."""
    transforms = getattr(getattr(dataset, "pipeline", None), "transforms", [])
    classes = (getattr(dataset, "metainfo", None) or {}).get("classes")
    for i, transform in enumerate(transforms):
        kind = type(transform)
        if kind.__name__ == "LoadAnnotations" and kind.__module__.startswith("mmseg.") and classes:
            ignored = getattr(dataset, "ignore_index", 255)
            transforms[i] = CheckedLabelMap(transform, len(classes), ignored)


class CheckedLabelMap(BaseTransform):
    """mmseg's loading of a label map, and a look at what it loaded."""

    def __init__(self, loading: BaseTransform, classes: int, ignored: int) -> None:
        self.loading, self.classes, self.ignored = loading, classes, ignored

    def transform(self, results: dict) -> dict:
        path = results.get("seg_map_path")
        try:
            results = self.loading(results)
        except Exception as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UserError(
                f"label map {path} can't be read: {reason}. Each image needs one: restore it, or "
                "take the image out of the data set"
            ) from error
        labels: np.ndarray = results["gt_seg_map"]
        image = tuple(results.get("ori_shape", labels.shape))[:2]
        if labels.shape != image:
            raise UserError(
                f"label map {path} has shape {labels.shape} (height, width), its image {image}; a "
                "map is one channel of the image's own size"
            )
        if (beyond := (labels >= self.classes) & (labels != self.ignored)).any():
            values = ", ".join(map(str, np.unique(labels[beyond])[:5]))
            reduced = " (after reduce_zero_label took one off)" if results.get(
                "reduce_zero_label"
            ) else ""  # fmt: skip
            raise UserError(
                f"label map {path} holds the labels {values}{reduced}, but the data set has "
                f"{self.classes} classes, 0 to {self.classes - 1}, and {self.ignored} for what is "
                "ignored. Correct the map, or the classes (metainfo) and num_classes of the heads"
            )
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.loading!r})"


def empty_message(dataset: Any) -> str:
    inner = next((d for d in nested_datasets(dataset) if getattr(d, "ann_file", None)), dataset)
    where = getattr(inner, "ann_file", "") or getattr(inner, "data_root", "")
    return (
        f"no training image is left of {type(inner).__name__} ({where}): there are none, or its "
        "filter_cfg leaves all out (images without an object of the classes, or too small)"
    )
