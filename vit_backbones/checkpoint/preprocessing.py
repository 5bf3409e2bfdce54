"""What an encoder expects of its images: their size and normalisation."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..arguments import to_pair
from ..backbones.base import Backbone
from ..backbones.normalisation import published_normalisation
from ..datasets.channels import starts_from_rgb
from ..registry import type_name

PIL_FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}


@dataclass(frozen=True)
class Preprocessing:
    """From an image to the encoder's input.

    Attributes:
        size: (height, width) of the input, in pixels.
        mean, std: Per channel, for pixels of 0 to 1: (pixel - mean) / std.
        interpolation: 'bilinear', 'bicubic', ...
        shorter_side: The image's shorter side is resized to it before ``size`` is cut from the
            centre; None: both sides are resized to ``size``.
        rgb: Whether the channels come in this order; else blue comes first.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"
    shorter_side: int | None = None
    rgb: bool = True

    def to_huggingface(self, processor: str) -> dict[str, Any]:
        """What preprocessor_config.json holds."""
        height, width = self.size
        config: dict[str, Any] = dict(
            image_processor_type=processor,
            do_resize=True,
            size=dict(height=height, width=width),
            resample=PIL_FILTERS[self.interpolation],
            do_rescale=True,
            rescale_factor=1 / 255,
            do_normalize=True,
            image_mean=list(self.mean),
            image_std=list(self.std),
        )
        if self.shorter_side is not None:
            config["size"] = dict(shortest_edge=self.shorter_side)
            config.update(do_center_crop=True, crop_size=dict(height=height, width=width))
        return config

    def describe(self) -> str:
        """One sentence."""
        resize = f"{self.size[0]} x {self.size[1]} pixels ({self.interpolation})"
        if self.shorter_side is not None:
            resize = f"the shorter side resized to {self.shorter_side} pixels, centre of {resize}"
        channels = "RGB" if self.rgb else "BGR"
        return (
            f"{channels}, {resize}, pixels of 0 to 1 minus {_list(self.mean)}, "
            f"divided by {_list(self.std)}"
        )


# As each family's authors evaluate at the size of their published files, beside normalisation.
_FAMILIES: dict[str, dict[str, Any]] = {
    "vit_*": dict(interpolation="bilinear"),
    "deit3_*": dict(crop=1.0),
    "deit_*": dict(crop=0.875),
    "mae_*": dict(crop=0.875),
    "dino_*": dict(crop=0.875),
    "dinov2_*": dict(crop=0.875, size=224),  # their positions are for 518
    "dinov3_*": dict(interpolation="bilinear"),
    "clip_*": dict(crop=1.0),
    "vitdet_*": dict(interpolation="bilinear"),
    "swin*": dict(),
    "mvit*": dict(crop=0.875),
}


def of_preset(name: str, encoder: Backbone) -> Preprocessing:
    """What the authors of a preset feed it."""
    family = next(dict(f) for pattern, f in _FAMILIES.items() if fnmatch.fnmatch(name, pattern))
    size = to_pair(family.pop("size", _image_size(encoder)), "img_size")
    crop = family.pop("crop", None)
    shorter = None if crop is None else int(min(size) / crop)
    mean, std = (_per_channel(v, 0.0, 3) for v in published_normalisation(name))
    return Preprocessing(size=size, mean=mean, std=std, shorter_side=shorter, **family)


def _image_size(encoder: Backbone) -> Any:
    """Swin v2 is published for images of 32 windows."""
    arch = encoder.arch
    if type(encoder).__name__ == "SwinTransformer" and not arch.use_abs_pos_embed:
        return arch.windows[0] * arch.patch_size * 2 ** (len(arch.depths) - 1)
    return arch.img_size


def of_config(cfg: Mapping[str, Any], encoder: Backbone) -> Preprocessing:
    """What a run of mmpretrain, mmdet or mmseg feeds it: its data preprocessor and test
    pipeline."""
    model = cfg.get("model", {})
    given = {**cfg.get("data_preprocessor", {}), **(model.get("data_preprocessor") or {})}
    channels = encoder.in_channels
    mean, std = (_per_channel(given.get(k), d, channels) for k, d in (("mean", 0.0), ("std", 1.0)))
    loader = cfg.get("test_dataloader") or cfg.get("val_dataloader") or {}
    pipeline = loader.get("dataset", {}).get("pipeline", ())
    swaps = given.get("to_rgb") or given.get("bgr_to_rgb") or False
    found = Preprocessing(
        size=to_pair(encoder.arch.img_size, "img_size"),
        mean=mean,
        std=std,
        interpolation="bilinear",  # mmcv's default
        rgb=bool(swaps or starts_from_rgb(pipeline, swaps)),
    )
    return replace(found, **_resizing(pipeline))


def _per_channel(value: Any, default: float, channels: int) -> tuple[float, ...]:
    """Of pixels of 0 to 255 -> of 0 to 1."""
    values = [default] * channels if value is None else list(value)
    return tuple(round(v / 255, 8) for v in values)


def _resizing(pipeline: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for step in pipeline:
        kind = type_name(step)
        if kind in ("Resize", "ResizeEdge") and "scale" in step:
            found["interpolation"] = step.get("interpolation", "bilinear")
            if kind == "ResizeEdge":
                found["shorter_side"] = step["scale"]
            elif not step.get("keep_ratio"):
                width, height = to_pair(step["scale"], "scale")
                found["size"] = (height, width)
        elif kind == "CenterCrop":
            width, height = to_pair(step["crop_size"], "crop_size")
            found["size"] = (height, width)
    if found.get("interpolation") not in (None, *PIL_FILTERS):
        found["interpolation"] = "bilinear"
    return found


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in values)
