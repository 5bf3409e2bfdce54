"""Fitting the position parameters of a plain ViT's checkpoint to the model that loads it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..layers.position import resize_pos_embed

if TYPE_CHECKING:
    from .vit import VisionTransformer


def adapt_position_on_load(
    model: VisionTransformer, state_dict: dict[str, Tensor], prefix: str, *_
) -> None:
    """A ``load_state_dict`` pre-hook: resize ``pos_embed`` to the model's grid, and settle the
    class token's position.

    A file made at another size is resized in the family's own way. Where only one side has a
    position for the class token, nothing is lost: a missing one is zero, a superfluous one is added
    to the class token itself.
    What can't be understood is left alone, for load_state_dict to complain.
    """
    key = prefix + "pos_embed"
    pos, own = state_dict.get(key), model.pos_embed
    if pos is None or own is None or pos.ndim != 3 or pos.shape[2] != own.shape[2]:
        return
    new_grid = model.arch.pos_grid
    own_prefix = own.shape[1] - math.prod(new_grid)
    dropped = model.cls_token is None and prefix + "cls_token" in state_dict
    split = _split(pos.shape[1], new_grid, 1 if dropped else own_prefix)
    if split is None:
        return
    file_prefix, old_grid = split
    cls_position, patches = pos[:, :file_prefix], pos[:, file_prefix:]
    patches = resize_pos_embed(patches, old_grid, new_grid, model.arch.interpolation)
    if own_prefix and not file_prefix:
        cls_position = torch.zeros_like(patches[:, :1])
    elif file_prefix and not own_prefix:
        token = state_dict.get(prefix + "cls_token")
        if model.cls_token is not None and token is not None:
            state_dict[prefix + "cls_token"] = token + cls_position
        cls_position = cls_position[:, :0]
    state_dict[key] = torch.cat([cls_position, patches], dim=1)


def _split(
    length: int, own_grid: tuple[int, int], likely: int
) -> tuple[int, tuple[int, int]] | None:
    """(prefix positions, grid) of a file's ``length`` positions: the model's own grid or a square
    one, after the ``likely`` number of prefix positions, 0 or 1, or else the other."""
    for prefix in (likely, 1 - likely):
        count = length - prefix
        side = math.isqrt(max(count, 0))
        if count == math.prod(own_grid):
            return prefix, own_grid
        if side and side * side == count:
            return prefix, (side, side)
    return None
