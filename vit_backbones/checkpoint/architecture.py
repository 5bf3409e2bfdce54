"""Which encoder some weights are: what its settings are, beyond the shapes of its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..backbones.base import Backbone
from ..backbones.presets import build_backbone, get_preset
from ..errors import UserError
from ..layers.relative_bias import window_of
from .describe import likeliest_presets
from .layouts.layout import matches
from .layouts.vit import class_positions
from .reading import check_finite
from .recognition import DISPENSABLE, KERNEL
from .resizing import check_patch_kernel
from .swin_windows import Windows

# In every block of every type
BLOCK_PARTS = tuple(
    f"{part}.{end}"
    for part in ("norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    for end in ("weight", "bias")
)


def guess_encoders(
    model_type: str, native: Mapping[str, Tensor], windows: Windows | None = None
) -> dict[str, Backbone]:
    """The presets that the weights may be, without memory, for the sizes that the weights have.

    They are several where the same parameters serve several recipes; none where a parameter has
    another shape than in every preset.

    Args:
        windows: Swin v2's, where the file tells them; its parameters don't.
    """
    encoders = {}
    for name in likeliest_presets(model_type, native):
        sizes = _sizes(model_type, name, native)
        if windows is not None and get_preset(name).settings.get("version") == 2:
            sizes |= windows.settings
        with torch.device("meta"):
            encoder = build_backbone(name, **sizes)
        own = encoder.state_dict()
        if all(
            n in own and own[n].numel() == t.numel()
            for n, t in native.items()
            if not matches(DISPENSABLE, n)
        ):
            encoders[name] = encoder
    return encoders


def _sizes(model_type: str, name: str, native: Mapping[str, Tensor]) -> dict[str, Any]:
    """Settings that tell for which size of image or window parameters are held."""
    settings: dict[str, Any] = {}
    kernel = native.get(KERNEL)
    pos = native.get("pos_embed")
    if kernel is not None and kernel.shape[1] != 3:
        settings["in_channels"] = kernel.shape[1]
    if model_type == "VisionTransformer" and pos is not None and kernel is not None:
        pos = pos.reshape(1, -1, pos.shape[-1])
        side = math.isqrt(pos.shape[1])
        if side and "pretrain_img_size" not in get_preset(name).settings:
            settings["img_size"] = (side * kernel.shape[2], side * kernel.shape[3])
            settings["pos_embed_cls"] = bool(class_positions(pos))
    tables = [t for n, t in native.items() if n.endswith("relative_position_bias_table")]
    if model_type == "SwinTransformer" and tables:
        settings["window_size"] = window_of(tables[0])
    stages = [i for i in range(4) if f"norm{i}.weight" in native]
    if model_type in ("SwinTransformer", "MViT") and stages:
        settings["out_indices"] = stages + [-1] * ("norm.weight" in native)
    return settings


def check_whole(model_type: str, native: Mapping[str, Tensor], source: str) -> None:
    """Refuse a part of an encoder.

    Raises:
        UserError: The embedding, a block, a part of a block or a parameter of the preset that it
            must be is missing, or a weight is not finite.
    """
    missing = [] if KERNEL in native else [KERNEL]
    if not missing:
        check_patch_kernel(native[KERNEL], source)
    missing += [name for name in _names_in_blocks(native) if name not in native]
    encoder = next(iter(guess_encoders(model_type, native).values()), None)
    if encoder is not None:
        required = [n for n in encoder.state_dict() if not matches(DISPENSABLE, n)]
        missing += [n for n in required if n not in native and not encoder.may_start_new(n)]
    if missing:
        missing = list(dict.fromkeys(missing))
        raise UserError(
            f"{source} holds only a part of a {model_type}: {len(missing)} of its parameters are "
            f"missing, such as {missing[0]}. Get the whole file"
        )
    check_finite(native, source)


def _names_in_blocks(native: Mapping[str, Tensor]) -> list[str]:
    """What a whole encoder has in its blocks, from the first to the last that is there."""
    numbers: dict[str, int] = {}
    for name in native:
        stem, found, rest = name.partition("blocks.")
        if found and rest.split(".")[0].isdigit():
            numbers[stem] = max(numbers.get(stem, 0), int(rest.split(".")[0]))
    stages = [int(stem.split(".")[1]) for stem in numbers if stem.startswith("layers.")]
    for stage in range(max(stages, default=-1)):
        numbers.setdefault(f"layers.{stage}.", 0)
    return [
        f"{stem}blocks.{i}.{part}"
        for stem, last in numbers.items()
        for i in range(last + 1)
        for part in BLOCK_PARTS
    ] or ["blocks.0.norm1.weight"]
