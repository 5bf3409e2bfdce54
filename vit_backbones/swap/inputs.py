"""What the images must be for the new encoder: their normalisation and size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..backbones.normalisation import published_normalisation
from ..registry import type_name
from .draft import Draft
from .encoder import Encoder


def preprocessors(draft: Draft, root: str) -> list[str]:
    """Paths of the configs that normalise images; mmseg and mmpretrain also have one beside the
    model, semi-supervised detectors one inside another."""
    tops = dict.fromkeys((f"{root}.data_preprocessor", "model.data_preprocessor"))
    tops["data_preprocessor"] = None
    return [p for top in tops for p, node in draft.dicts(top) if _normalises(node)]


def _normalises(node: Mapping) -> bool:
    """YOLOX's does not, but could."""
    kind = type_name(node)
    own = kind.endswith(("DataPreprocessor", "DataPreProcessor")) and "MultiBranch" not in kind
    return "mean" in node or own


def fit_normalisation(draft: Draft, root: str, library: str, name: str) -> None:
    """Mean, deviation and channel order for which the preset's published weights were trained."""
    paths = preprocessors(draft, root)
    others = [key for key in draft.get("model") if key.startswith(("teacher", "reid"))]
    if others:
        draft.note(
            f"model.{others[0]} stays and sees the same images: mean and std are left as they "
            f"are, whatever {name}'s weights are for."
        )
        return
    if not paths:
        draft.note("The config normalises no images in a data_preprocessor: left as it is.")
    published = published_normalisation(name)
    for path in paths:
        draft.set(f"{path}.mean", list(published.mean))
        draft.set(f"{path}.std", list(published.std))
        # mmcv reads BGR, and weights are for RGB
        draft.set(f"{path}.{'to_rgb' if library == 'mmpretrain' else 'bgr_to_rgb'}", True)


def fit_sizes(draft: Draft, root: str, library: str, encoder: Encoder) -> None:
    """Pad to whole patches where a map must cover the image exactly, and hold positions for the
    size of the images.

    A plain ViT's map covers whole patches; masks and points that are scaled from the map's size to
    the image's would be off by what is padded inside. The stages of Swin and MViT round up as a
    ResNet's do, so that what was right for it stays.
    """
    if not encoder.plain or library == "mmpretrain":
        if encoder.plain:
            _hold_positions(draft, root, encoder, _crop(draft))
        return
    patch = int(encoder.levels[0].stride)
    divisor = int(patch * max(1, 1 / min(encoder.pyramid))) if encoder.pyramid else patch
    for path in preprocessors(draft, root):
        if library == "mmdet":
            _fit_divisor(draft, path, "pad_size_divisor", divisor)
            for i, augment in enumerate(draft.get(f"{path}.batch_augments") or ()):
                if type_name(augment) == "BatchFixedSizePad":
                    _round_up(draft, f"{path}.batch_augments.{i}.size", divisor)
        else:
            _round_up(draft, f"{path}.size", divisor)
            test = draft.get(f"{path}.test_cfg")
            if test is None:
                draft.set(f"{path}.test_cfg", dict(size_divisor=divisor))
            elif "size_divisor" in test:
                _fit_divisor(draft, f"{path}.test_cfg", "size_divisor", divisor)
    if library == "mmseg":
        if draft.get(f"{root}.test_cfg.crop_size") is not None:
            _round_up(draft, f"{root}.test_cfg.crop_size", divisor)
        sizes = [draft.get(f"{path}.size") for path in preprocessors(draft, root)]
        _hold_positions(draft, root, encoder, next(filter(None, sizes), None))


def _fit_divisor(draft: Draft, path: str, key: str, divisor: int) -> None:
    if draft.get(f"{path}.{key}", 1) % divisor:
        draft.set(f"{path}.{key}", divisor)


def _round_up(draft: Draft, path: str, divisor: int) -> None:
    size = draft.get(path)
    if isinstance(size, Sequence):
        rounded = [math.ceil(side / divisor) * divisor for side in size]
        if list(size) != rounded:
            draft.set(path, tuple(rounded))


def _hold_positions(draft: Draft, root: str, encoder: Encoder, size: Any) -> None:
    """Position parameters for the size of the training images, unless an override says so."""
    if size is None or "img_size" in encoder.cfg:
        return
    size = tuple(size) if isinstance(size, Sequence) else (size, size)
    held = encoder.image_size
    if size != held:
        draft.set(f"{root}.backbone.img_size", size[0] if size[0] == size[1] else size)


def _crop(draft: Draft) -> int | None:
    """The size to which a classifier's training images are cropped."""
    pipeline = draft.get("train_dataloader.dataset.pipeline") or draft.get("train_pipeline") or ()
    for step in pipeline:
        if type_name(step) in ("RandomResizedCrop", "RandomCrop"):
            size = step.get("scale", step.get("crop_size"))
            return size if isinstance(size, int) else None
    return None
