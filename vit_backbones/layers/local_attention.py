"""Attention to each patch's neighbourhood."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..arguments import is_integer
from ..errors import UserError
from .efficient_attention import EfficientAttention, KeysValues

# Queries are taken in tiles of at most this side. A tile's keys are one block, the tile and its
# margin, so keys are copied ((8 + 6) / 8)^2 = 3 times for a kernel of 7, not 7 * 7 times.
TILE = 8


class LocalAttention(EfficientAttention):
    """Each patch sees the kernel_size x kernel_size patches around it (stand-alone self-attention,
    Ramachandran et al. 2019, section 2.2, without its relative position). O(n kernel_size^2).

    At the border the neighbourhood is clipped: what would lie outside has no key, so the softmax
    is over fewer patches.

    Args:
        kernel_size: Side of the neighbourhood, odd.

    Raises:
        UserError: ``kernel_size`` is no odd positive integer.
    """

    def __init__(self, dim: int, num_heads: int, kernel_size: int = 7, **kwargs) -> None:
        if not is_integer(kernel_size) or kernel_size < 1 or kernel_size % 2 == 0:
            raise UserError(f"kernel_size must be an odd positive integer, not {kernel_size!r}")
        super().__init__(dim, num_heads, **kwargs)
        self.kernel_size = kernel_size

    def attend_patches(
        self, q: Tensor, k: Tensor, v: Tensor, prefix: KeysValues, grid: tuple[int, int]
    ) -> Tensor:
        rows, columns = (Tiling.of(side, self.kernel_size) for side in grid)
        by_row, by_column = rows.mask(q.device), columns.mask(q.device)
        mask = by_row[:, None, :, None, :, None] & by_column[None, :, None, :, None, :]
        mask = mask.flatten(4).flatten(2, 3).flatten(0, 1)

        q, k, v = (t.unflatten(1, grid) for t in (q, k, v))
        q = cut(q, rows.without_margin(), columns.without_margin())
        x = self.attend_groups(q, cut(k, rows, columns), cut(v, rows, columns), prefix, mask=mask)
        x = x.unflatten(2, (rows.side, columns.side)).unflatten(1, (rows.count, columns.count))
        x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return x[:, : grid[0], : grid[1]].flatten(1, 2)


class Tiling(NamedTuple):
    """How one side of the grid is cut into tiles.

    Attributes:
        length: Patches along the side.
        count: Tiles.
        side: Patches of a tile; the last one may reach beyond the length.
        margin: Patches that its keys have before and after it.
    """

    length: int
    count: int
    side: int
    margin: int

    @classmethod
    def of(cls, length: int, kernel_size: int) -> Tiling:
        count = -(-length // TILE)
        return cls(length, count, -(-length // count), min(kernel_size // 2, length - 1))

    def without_margin(self) -> Tiling:
        return self._replace(margin=0)

    def mask(self, device: torch.device) -> Tensor:
        """(count, side, side + 2 * margin): True where a tile's query sees a key of its block."""
        start = torch.arange(self.count, device=device)[:, None, None] * self.side
        query = start + torch.arange(self.side, device=device)[:, None]
        key = start + torch.arange(-self.margin, self.side + self.margin, device=device)
        # queries beyond the map are cut off later, but a softmax over no key may turn out NaN
        query = query.clamp(max=self.length - 1)
        return ((query - key).abs() <= self.margin) & (key >= 0) & (key < self.length)


def cut(x: Tensor, rows: Tiling, columns: Tiling) -> Tensor:
    """A map (B, h, w, heads, head_dim) in tiles with their margins, zero outside the map:
    (B, tiles, patches of a tile, heads, head_dim)."""
    padding = []
    for axis in (columns, rows):
        beyond = axis.count * axis.side - axis.length
        padding += [axis.margin, axis.margin + beyond]
    x = F.pad(x, (0, 0, 0, 0, *padding))
    for dim, axis in ((1, rows), (2, columns)):
        x = x.unfold(dim, axis.side + 2 * axis.margin, axis.side)
    return x.permute(0, 1, 2, 5, 6, 3, 4).flatten(3, 4).flatten(1, 2)
