"""2-D rotary position embedding."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class RotaryEmbedding2D(nn.Module):
    """Rotation angles for each patch of a grid: axial RoPE over normalised coordinates (DINOv3,
    Siméoni et al. 2025, section 3.2; RoPE: Su et al. 2021).

    A patch's row and column centre lie in [-1, 1]. A quarter of the head's channels rotates with
    the row and a quarter with the column, each with ``head_dim / 4`` periods from 1 to ``base``;
    the same angles serve the second half of the channels, which :func:`apply_rotary` pairs with the
    first.

    Args:
        head_dim: Channels of one head, a multiple of 4.
        base: Longest period, in units of the coordinate.
        rescale: In training, both coordinates are multiplied by one random factor, log-uniform in
            [1 / rescale, rescale] (DINOv3's box jittering); None never does.
    """

    def __init__(self, head_dim: int, base: float = 100.0, rescale: float | None = None) -> None:
        super().__init__()
        if head_dim % 4:
            raise ValueError(f"2-D RoPE needs a head width that divides by 4, not {head_dim}")
        self.head_dim = head_dim
        self.base = base
        self.rescale = rescale

    @property
    def is_random(self) -> bool:
        """Whether angles differ from call to call."""
        return self.training and self.rescale is not None

    def forward(self, grid: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
        """(sin, cos), each (h * w, head_dim), float32, patches in row-major order."""
        h, w = grid
        quarter = self.head_dim // 4
        float32 = dict(dtype=torch.float32, device=device)
        periods = self.base ** (torch.arange(quarter, **float32) / quarter)
        rows = (torch.arange(h, **float32) + 0.5) / h * 2 - 1
        columns = (torch.arange(w, **float32) + 0.5) / w * 2 - 1
        if self.is_random:
            bound = math.log(self.rescale)
            factor = torch.empty(1, **float32).uniform_(-bound, bound).exp()
            rows, columns = rows * factor, columns * factor
        by_row = (2 * math.pi * rows[:, None] / periods)[:, None].expand(h, w, quarter)
        by_column = (2 * math.pi * columns[:, None] / periods)[None].expand(h, w, quarter)
        angles = torch.cat([by_row, by_column], dim=-1).flatten(0, 1).repeat(1, 2)
        return angles.sin(), angles.cos()


def apply_rotary(x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    """Rotate the last tokens of x; the prefix tokens before them (class token, registers) stay as
    they are.

    Args:
        x: Queries or keys (B, heads, P + n, head_dim).
        sin, cos: (n, head_dim), or (B, 1, n, head_dim) where samples keep different patches.

    Returns:
        Same shape and dtype as x; the rotation itself is at least in float32.
    """
    n = sin.shape[-2]
    prefix, patches = x[:, :, : x.shape[2] - n], x[:, :, x.shape[2] - n :]
    first, second = patches.chunk(2, dim=-1)
    rotated = patches * cos + torch.cat([-second, first], dim=-1) * sin
    return torch.cat([prefix, rotated.to(x.dtype)], dim=2)
