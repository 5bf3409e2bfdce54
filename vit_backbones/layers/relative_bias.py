"""Relative position bias of square windows: Swin's table and Swin v2's continuous function."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .kept import kept


@kept(64)
def relative_index(window: int, table_window: int, device: torch.device) -> Tensor:
    """(N * N,), N = window ** 2: for slots i and j, row by row, the row of a table of
    (2 * table_window - 1) ** 2 offsets (Swin, Liu et al. 2021, section 3.2).

    A table of a larger window holds all offsets of a smaller one.
    """
    slot = torch.arange(window * window, device=device)
    row, column = slot // window, slot % window
    down = row[:, None] - row + table_window - 1
    right = column[:, None] - column + table_window - 1
    return (down * (2 * table_window - 1) + right).flatten()


def bias_from_table(table: Tensor, window: int, table_window: int) -> Tensor:
    """((2 * table_window - 1) ** 2, heads) -> (heads, N, N), added to the attention logits."""
    N = window * window
    bias = table.index_select(0, relative_index(window, table_window, table.device))
    return bias.T.reshape(-1, N, N)


def log_spaced_offsets(window: int, pretrained: int, like: Tensor) -> Tensor:
    """((2 * window - 1) ** 2, 2): all offsets (down, right) of a window, log-spaced
    (Swin v2, Liu et al. 2022, equation 4; scaled as in the authors' code).

    Args:
        window: Side of the window.
        pretrained: Side of the window with which the weights were trained, whose largest offset is
            the unit; 0: this window.
        like: A tensor on the device and in the precision that are wanted.
    """
    unit = max((pretrained or window) - 1, 1)
    dtype = torch.promote_types(like.dtype, torch.float32)
    steps = torch.arange(1 - window, window, dtype=dtype, device=like.device) * 8 / unit
    steps = steps.sign() * torch.log2(steps.abs() + 1) / math.log2(8)
    return torch.cartesian_prod(steps, steps).to(like.dtype)


def window_of(table: Tensor) -> int:
    """Side of the square window that a table ((2 * window - 1) ** 2, heads) is for."""
    return (math.isqrt(len(table)) + 1) // 2


def resize_bias_table(table: Tensor, window: int) -> Tensor:
    """Fit a table of any square window to another window, bicubic as in the authors' code:
    (L, heads) -> ((2 * window - 1) ** 2, heads). A table that isn't square is left alone."""
    old, new = math.isqrt(len(table)) if table.ndim == 2 else 0, 2 * window - 1
    if old in (0, new) or old * old != len(table):
        return table
    square = table.T.reshape(1, -1, old, old).float()
    resized = F.interpolate(square, size=(new, new), mode="bicubic", align_corners=False)
    return resized.reshape(-1, new * new).T.to(table.dtype)
