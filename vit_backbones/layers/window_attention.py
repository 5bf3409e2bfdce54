"""Attention within windows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..arguments import check_positive
from .efficient_attention import EfficientAttention, KeysValues
from .window import ceil_div, crop_map


class WindowAttention(EfficientAttention):
    """Each patch sees the patches of its own window; windows don't overlap and don't shift (ViTDet,
    Li et al. 2022, section 3). O(n) for n patches.

    A map whose sides are no multiples of the window is padded at the bottom and right. As in
    ViTDet's code, which pads with zeros after the norm, the padding takes part: its keys and values
    are what the projection makes of a zero token. Only patches see it; prefix tokens see the
    tokens alone.

    Args:
        window_size: Side of the square window in patches.

    Raises:
        UserError: ``window_size`` is no positive integer.
    """

    takes_decomposed_position = True

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: int = 14,
        rel_pos_grid: tuple[int, int] | None = None,
        **kwargs,
    ) -> None:
        check_positive("window_size", window_size)
        self_grid = None if rel_pos_grid is None else (window_size, window_size)
        super().__init__(dim, num_heads, rel_pos_grid=self_grid, **kwargs)
        self.window = (window_size, window_size)

    def attend_patches(
        self, q: Tensor, k: Tensor, v: Tensor, prefix: KeysValues, grid: tuple[int, int]
    ) -> Tensor:
        B, _, heads, head_dim = q.shape
        (h, w), (wh, ww) = grid, self.window
        rows, columns = ceil_div(h, wh), ceil_div(w, ww)  # of windows
        padding = (rows * wh - h, columns * ww - w)
        # A graph for maps of any size pads them all, with nothing where they fit.
        pads = torch.compiler.is_compiling() or any(padding)
        fills = self.project(q.new_zeros(1, 1, heads * head_dim)) if pads else (None,) * 3

        def cut(tokens: Tensor, fill: Tensor | None) -> Tensor:
            x = tokens.reshape(B, h, w, heads * head_dim)
            if fill is not None:
                x = _pad(x, fill.transpose(1, 2).reshape(1, 1, 1, -1), padding)
            x = x.reshape(B, rows, wh, columns, ww, heads, head_dim).transpose(2, 3)
            return x.reshape(B, rows * columns, wh * ww, heads, head_dim)

        q, k, v = (cut(tokens, fill) for tokens, fill in zip((q, k, v), fills))
        x = self.attend_groups(q, k, v, prefix, self.window)
        x = x.reshape(B, rows, columns, wh, ww, heads, head_dim).transpose(2, 3)
        x = crop_map(x.reshape(B, rows * wh, columns * ww, heads, head_dim), grid)
        return x.reshape(B, h * w, heads, head_dim)


def _pad(x: Tensor, fill: Tensor, padding: tuple[int, int]) -> Tensor:
    """Put ``fill`` (1, 1, 1, C) at the bottom and right of the map x (B, H, W, C)."""
    bottom, right = padding
    B, H, W, _ = x.shape
    # Concatenating no rows, one row or more would be three graphs
    if torch.compiler.is_compiling():
        inside = torch.arange(H + bottom, device=x.device)[:, None, None] < H
        inside = inside & (torch.arange(W + right, device=x.device)[:, None] < W)
        return torch.where(inside, F.pad(x, (0, 0, 0, right, 0, bottom)), fill)
    x = torch.cat([x, fill.expand(B, H, right, -1)], dim=2)
    return torch.cat([x, fill.expand(B, bottom, W + right, -1)], dim=1)
