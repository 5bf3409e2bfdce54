"""Maps to windows and back."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def partition_windows(x: Tensor, window: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """(B, H, W, C) -> (B * windows, wh * ww, C) and the padded (H, W).

    Sides that are no multiples of the window are padded with zeros at the bottom and right.
    """
    B, H, W, C = x.shape
    wh, ww = window
    bottom, right = -H % wh, -W % ww
    if bottom or right:
        x = F.pad(x, (0, 0, 0, right, 0, bottom))
    Hp, Wp = H + bottom, W + right
    x = x.reshape(B, Hp // wh, wh, Wp // ww, ww, C).transpose(2, 3)
    return x.reshape(-1, wh * ww, C), (Hp, Wp)


def merge_windows(
    windows: Tensor, window: tuple[int, int], padded: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """The inverse of :func:`partition_windows`: (B * windows, wh * ww, C) -> (B, H, W, C)."""
    (wh, ww), (Hp, Wp), (H, W) = window, padded, size
    x = windows.reshape(-1, Hp // wh, Wp // ww, wh, ww, windows.shape[-1]).transpose(2, 3)
    return x.reshape(-1, Hp, Wp, windows.shape[-1])[:, :H, :W]
