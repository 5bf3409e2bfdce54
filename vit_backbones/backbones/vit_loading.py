"""Fitting the position parameters of a plain ViT's checkpoint to the model that loads it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ..layers.position import resize_pos_embed

if TYPE_CHECKING:
    from .vit import VisionTransformer


def adapt_position_on_load(
    model: VisionTransformer, state_dict: dict[str, Tensor], prefix: str, *_
) -> None:
    """A ``load_state_dict`` pre-hook: resize ``pos_embed`` to the model's grid, and settle the
    prefix tokens' positions.

    A file made at another size is resized in the family's own way. Where only one side has a
    position for the class token, nothing is lost: a missing one is zero, a superfluous one is added
    to the class token itself. So are positions of registers, which some of timm's files have.
    What can't be understood is left alone, for load_state_dict to complain.
    """
    key = prefix + "pos_embed"
    pos, own = state_dict.get(key), model.pos_embed
    if pos is None or own is None or pos.ndim != 3 or pos.shape[2] != own.shape[2]:
        return
    new_grid = model.arch.pos_grid
    own_prefix = own.shape[1] - math.prod(new_grid)
    dropped = model.cls_token is None and prefix + "cls_token" in state_dict
    registers = state_dict.get(prefix + "reg_token")
    count = 0 if registers is None else registers.shape[1]
    with_cls = int(prefix + "cls_token" in state_dict)
    likely = 1 if dropped else own_prefix
    split = _split(pos.shape[1], new_grid, (likely, 1 - likely, with_cls + count))
    if split is None:
        return
    file_prefix, old_grid = split
    cls_position, patches = pos[:, :file_prefix], pos[:, file_prefix:]
    patches = resize_pos_embed(patches, old_grid, new_grid, model.arch.interpolation)
    if own_prefix and not file_prefix:
        cls_position = torch.zeros_like(patches[:, :1])
    else:
        tokens = ("reg_token",) if own_prefix else ("cls_token", "reg_token")
        _add_to_tokens(state_dict, prefix, tokens, cls_position[:, own_prefix:])
        cls_position = cls_position[:, :own_prefix]
    state_dict[key] = torch.cat([cls_position, patches], dim=1)


def _add_to_tokens(
    state_dict: dict[str, Tensor], prefix: str, names: tuple[str, ...], positions: Tensor
) -> None:
    """Add positions (1, n, C) to the tokens of these names, one after the other."""
    for name in names:
        token = state_dict.get(prefix + name)
        if token is not None:
            share, positions = positions.tensor_split([token.shape[1]], dim=1)
            missing = token.shape[1] - share.shape[1]
            state_dict[prefix + name] = token + F.pad(share, (0, 0, 0, missing))


def _split(
    length: int, own_grid: tuple[int, int], prefixes: tuple[int, ...]
) -> tuple[int, tuple[int, int]] | None:
    """(prefix positions, grid) of a file's ``length`` positions: the model's own grid or a square
    one, after one of the numbers of prefix positions, likely ones first."""
    for prefix in prefixes:
        count = length - prefix
        side = math.isqrt(max(count, 0))
        if count == math.prod(own_grid):
            return prefix, own_grid
        if side and side * side == count:
            return prefix, (side, side)
    return None
