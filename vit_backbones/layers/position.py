"""Absolute position embeddings: the fixed ones, and the resizing of any of them to another grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..arguments import check_flags, check_rate
from ..errors import UserError, nearest

MODES = ("bicubic", "bilinear", "nearest")


@dataclass(frozen=True)
class PosInterpolation:
    """How a family resizes its position embeddings; the families differ, and results change with
    it.

    Attributes:
        mode: 'bicubic', 'bilinear' or 'nearest'.
        antialias: Low-pass filter before shrinking (it also changes torch's bicubic kernel when
            growing).
        align_corners: Whether the corner patches keep their place exactly.
        offset: DINO's: the scale factor is (size + offset) / old size instead of size / old size.
    """

    mode: str = "bicubic"
    antialias: bool = False
    align_corners: bool = False
    offset: float = 0.0


def check_interpolation(fields: Mapping[str, Any]) -> None:
    """Raise a UserError where a config's ``pos_interpolation=dict(...)`` has an unknown field or
    mode."""
    if not isinstance(fields, Mapping):
        raise UserError(f"pos_interpolation must be a dict, not {fields!r}")
    known = list(PosInterpolation.__dataclass_fields__)
    for name in fields:
        if name not in known:
            raise UserError(
                f"pos_interpolation has no field '{name}'{nearest(name, known) or '.'} "
                f"Its fields: {', '.join(known)}"
            )
    how = PosInterpolation(**fields)
    if how.mode not in MODES:
        raise UserError(
            f"pos_interpolation: mode must be one of {', '.join(MODES)}, not {how.mode!r}"
        )
    check_rate("pos_interpolation: offset", how.offset)
    check_flags(how, "pos_interpolation: ")


def resize_pos_embed(
    pos: Tensor,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    how: PosInterpolation = PosInterpolation(),
) -> Tensor:
    """Resize position embeddings of patches, (1, old_h * old_w, C) -> (1, new_h * new_w, C).

    Prefix positions (class token) are not among them. The arithmetic is in float32 at least.
    """
    if how.offset and torch.jit.is_tracing():
        new_grid = tuple(int(n) for n in new_grid)  # a factor must be a number
    # a side that torch.export leaves open is no int: it may be another one
    if all(isinstance(n, int) and n == o for n, o in zip(new_grid, old_grid, strict=True)):
        return pos
    x = pos.reshape(1, *old_grid, -1).permute(0, 3, 1, 2)
    x = x.to(torch.promote_types(pos.dtype, torch.float32))
    options: dict = dict(mode=how.mode)
    if how.mode != "nearest":
        options.update(antialias=how.antialias, align_corners=how.align_corners)
    if how.offset:
        scale = tuple((n + how.offset) / o for n, o in zip(new_grid, old_grid, strict=True))
        x = F.interpolate(x, scale_factor=scale, **options)
    else:
        x = F.interpolate(x, size=new_grid, **options)
    return x.permute(0, 2, 3, 1).reshape(1, new_grid[0] * new_grid[1], -1).to(pos.dtype)


def sinusoid_1d(length: int, dim: int) -> Tensor:
    """(length, dim): sin at even and cos at odd channels (Vaswani et al. 2017, section 3.5)."""
    angles = torch.arange(length)[:, None] * _frequencies((dim + 1) // 2)
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :dim]
    return waves.to(torch.get_default_dtype())


def sincos_2d(grid: tuple[int, int], dim: int) -> Tensor:
    """(h * w, dim): sines and cosines of the column in the first half of the channels, of the row
    in the second (MAE, He et al. 2022, after MoCo v3, Chen et al. 2021, section 5). ``dim`` is a
    multiple of 4."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    frequencies = _frequencies(dim // 4)
    parts = []
    for axis in (columns, rows):
        angles = axis.flatten()[:, None] * frequencies
        parts += [angles.sin(), angles.cos()]
    return torch.cat(parts, dim=1).to(torch.get_default_dtype())


def _frequencies(count: int) -> Tensor:
    """1, ..., towards 1 / 10000, geometric, in float64."""
    return torch.exp(-math.log(10000.0) * torch.arange(count, dtype=torch.float64) / count)
