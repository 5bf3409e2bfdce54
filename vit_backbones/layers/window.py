"""Maps to windows and back."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import has_static_value
from torch.nn import functional as F


def ceil_div(size: int, part: int) -> int:
    """Parts of that size in which a side fits. ``-size % part`` would tell the padding too, but
    torch.compile broods over remainders where sizes vary."""
    return (size + part - 1) // part


def halved_grids(grid: tuple[int, int], stages: int) -> list[tuple[int, int]]:
    """(h, w) of a map and of those of the stages after it, each half as wide and high, rounded
    up."""
    return [(ceil_div(grid[0], 2**i), ceil_div(grid[1], 2**i)) for i in range(stages)]


def partition_windows(x: Tensor, window: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """(B, H, W, C) -> (B * windows, wh * ww, C) and the padded (H, W).

    Sides that are no multiples of the window are padded with zeros at the bottom and right.
    """
    B, H, W, C = x.shape
    wh, ww = window
    rows, columns = ceil_div(H, wh), ceil_div(W, ww)
    Hp, Wp = rows * wh, columns * ww
    x = pad_map(x, (Hp, Wp)).reshape(B, rows, wh, columns, ww, C).transpose(2, 3)
    return x.reshape(B * rows * columns, wh * ww, C), (Hp, Wp)


def merge_windows(
    windows: Tensor, window: tuple[int, int], padded: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """The inverse of :func:`partition_windows`: (B * windows, wh * ww, C) -> (B, H, W, C)."""
    (wh, ww), (Hp, Wp) = window, padded
    x = windows.reshape(-1, Hp // wh, Wp // ww, wh, ww, windows.shape[-1]).transpose(2, 3)
    return crop_map(x.reshape(-1, Hp, Wp, windows.shape[-1]), size)


def pad_map(x: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (B, h, w, C) with zeros at the bottom and right, up to (H, W)."""
    (h, w), (H, W) = x.shape[1:3], size
    # Padding by nothing is a copy. While compiling always, as in crop_map
    if torch.compiler.is_compiling() or (h, w) != (H, W):
        return F.pad(x, (0, 0, 0, W - w, 0, H - h))
    return x


def crop_map(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The first (h, w) rows and columns of a map (B, H, W, ...).

    A slice that leaves out nothing has other strides than one that does, and torch.compile would
    make graphs for both: where sizes vary it is a copy, by a kernel slower than a slice's.
    """
    sides = (*size, *x.shape[1:3])
    if not torch.compiler.is_compiling() or all(has_static_value(n) for n in sides):
        return x[:, : size[0], : size[1]]
    rest = (0, 0) * (x.dim() - 3)
    return F.pad(x, (*rest, 0, size[1] - x.shape[2], 0, size[0] - x.shape[1]))
