"""What a peer's model can't do, in words; and settings as Python code."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...arguments import to_pair
from ...backbones.base import Backbone
from ...backbones.mvit_arch import MViTArch
from ...backbones.swin_arch import SwinArch
from ...backbones.vit_arch import ViTArch
from ...errors import UserError

APPROXIMATIONS = ("gelu_tanh", "quick_gelu")  # of GELU, in ViTArch.mlp


def refuse(target: str, encoder: Backbone, reason: str) -> UserError:
    return UserError(
        f"{target} has no model that computes what this {type(encoder).__name__} does: {reason}"
    )


def refuse_map(target: str, encoder: Backbone, stage: int, why: str) -> UserError:
    """For the map of a stage of a Swin or MViT, at its input size."""
    (height, width), (h, w) = to_pair(encoder.arch.img_size, "img_size"), encoder.arch.grids[stage]
    size = f"at {height}x{width} pixels its map of stage {stage} is {h}x{w}"
    return refuse(target, encoder, f"{size}, {why}")


def is_plain(arch: ViTArch) -> bool:
    """Whether all blocks attend globally, without relative position: what every project has."""
    return set(arch.attention_kinds) == {"global"} and "decomposed" not in arch.positions


def check_plain(target: str, encoder: Backbone) -> None:
    """Raise a UserError where a ViT's attention isn't global in every block."""
    if not is_plain(encoder.arch):
        kinds = sorted(set(encoder.arch.attention_kinds))
        raise refuse(target, encoder, f"its attention is of the kinds {', '.join(kinds)}")


def check_one_window(target: str, encoder: Backbone) -> None:
    """Raise a UserError where the stages of a Swin have windows of several sides."""
    if len(set(encoder.arch.windows)) > 1:
        windows = encoder.arch.windows
        raise refuse(target, encoder, f"its stages have several windows, {windows}")


def window_blocks(target: str, encoder: Backbone) -> tuple[int, list[int]]:
    """Of ViTDet: side of the windows, and which blocks have them; the others are global.

    Raises:
        UserError: It has no decomposed position, or other kinds of attention or several windows.
    """
    arch = encoder.arch
    sides = set(arch.window_sizes.values())
    if "decomposed" not in arch.positions or len(sides) > 1:
        raise refuse(target, encoder, "it has windows without decomposed position, or several")
    if set(arch.attention_kinds) - {"window", "global"}:
        raise refuse(target, encoder, "it has attention other than global and windowed")
    return (sides.pop() if sides else 0), list(arch.window_sizes)


def check_sam(target: str, encoder: Backbone) -> None:
    """Raise a UserError where a ViTDet has what SAM's encoder has not, or positions for images of
    another size."""
    arch = encoder.arch
    tokens = arch.cls_token or arch.num_registers or encoder.pos_embed is None
    norms = arch.final_norm or arch.pre_norm or arch.pool_norm or arch.qk_norm
    scaled = arch.layer_scale_init is not None
    if tokens or norms or scaled or arch.mlp != "gelu" or "rope2d" in arch.positions:
        raise refuse(target, encoder, "besides windows it has what SAM's encoder has not")
    if arch.pos_grid != arch.grid:
        raise refuse(
            target,
            encoder,
            f"its positions are for {arch.pos_grid} patches, not for the "
            f"{arch.grid} of its images; set pretrain_img_size=None to have them resized",
        )


def check_windows(target: str, encoder: Backbone) -> None:
    """Raise a UserError where a Swin, at its input size, has maps smaller than their windows: their
    bias tables have other sizes there, or the maps are padded."""
    arch = encoder.arch
    for stage, ((h, w), window) in enumerate(zip(arch.grids, arch.windows)):
        if min(h, w) < window and not arch.pad_small_map:
            why = f"smaller than its windows of {window}; give a larger img_size, for which it is "
            raise refuse_map(target, encoder, stage, f"{why}to be built there")


def check_oblong_maps(target: str, encoder: Backbone) -> None:
    """Raise a UserError where a Swin, at its input size, has maps of which one side alone is larger
    than the windows: the authors shift none of these, others those along the longer side."""
    arch = encoder.arch
    for stage, (grid, window) in enumerate(zip(arch.grids, arch.windows)):
        if min(grid) <= window < max(grid) and not arch.pad_small_map and arch.depths[stage] > 1:
            why = f"with windows of {window}, which are shifted in another way there; give an "
            why += "img_size whose maps have both sides larger than that"
            raise refuse_map(target, encoder, stage, why)


def check_halves(target: str, encoder: Backbone) -> None:
    """Raise a UserError where a map of odd sides is halved at the encoder's input size: ours round
    up, others down."""
    arch = encoder.arch
    for stage, (h, w) in enumerate(arch.grids[:-1]):
        if h % 2 or w % 2:
            why = "which does not halve evenly; give an img_size for which all maps do"
            raise refuse_map(target, encoder, stage, why)


def check_mvit(target: str, encoder: Backbone) -> None:
    """Raise a UserError where an MViTv2 has what timm and mmpretrain don't build: no pooling
    kernels, or maps for which their tables of relative positions have other sizes."""
    arch = encoder.arch
    if arch.pool_kernel is None:
        raise refuse(target, encoder, "it pools without kernels")
    if arch.rel_pos:
        check_halves(target, encoder)
        if arch.grids[0][0] != arch.grids[0][1]:
            raise refuse(target, encoder, "its relative positions are not of square images")


def mlp_width(encoder: Backbone) -> int:
    """Width between the two layers of a plain ViT's MLPs (of a gated one: after the gate)."""
    return encoder.blocks[0].mlp.fc2.weight.shape[1]


def square(value: Any, name: str) -> int | tuple[int, int]:
    """One number where height and width are equal."""
    height, width = to_pair(value, name)
    return height if height == width else (height, width)


def non_defaults(arch: ViTArch | SwinArch | MViTArch) -> dict[str, Any]:
    """The settings that differ from the defaults of their class."""
    return {
        field.name: getattr(arch, field.name)
        for field in dataclasses.fields(arch)
        if getattr(arch, field.name) != _default(field)
    }


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def arguments(settings: Mapping[str, Any]) -> str:
    """``a=1, b='c'``."""
    return ", ".join(f"{name}={_literal(value)}" for name, value in settings.items())


class Code(str):
    """Python code, as a value of a setting."""


def _literal(value: Any) -> str:
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, Mapping):
        return f"dict({arguments(value)})"
    if isinstance(value, list | tuple):
        return (
            repr(type(value)(value))
            if not any(isinstance(v, Mapping) for v in value)
            else "[" + ", ".join(_literal(v) for v in value) + "]"
        )
    return repr(value)
