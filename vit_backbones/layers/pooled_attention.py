"""Attention to down-sampled keys and values."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..arguments import check_positive
from .efficient_attention import EfficientAttention, KeysValues


class PooledAttention(EfficientAttention):
    """Every patch sees average-pooled keys and values.

    Pooled to a fixed grid, whatever the input (PVTv2's linear spatial reduction attention, Wang
    et al. 2022, section 3, without its convolution): O(n) for n patches. With ``stride`` each cell
    covers stride x stride patches (PVT, Wang et al. 2021, section 3.3, with an average in place of
    the learnt reduction): O(n^2 / stride^2).

    The average is taken after the projection (MViT, Fan et al. 2021, section 3.1) and after RoPE:
    a query's score for a cell is the mean of its scores for the cell's patches. It adds no
    parameters, so the weights are those of global attention.

    Args:
        pool_size: Side of the fixed square grid; a side of the input that is shorter is kept.
        stride: Side of a cell in patches; cells at the bottom and right may be smaller. It takes
            the place of ``pool_size``.

    Raises:
        UserError: One of them is no positive integer.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        pool_size: int = 7,
        stride: int | None = None,
        **kwargs,
    ) -> None:
        check_positive("pool_size", pool_size)
        if stride is not None:
            check_positive("stride", stride)
        super().__init__(dim, num_heads, **kwargs)
        self.pool_size = pool_size
        self.stride = stride

    def attend_patches(
        self, q: Tensor, k: Tensor, v: Tensor, prefix: KeysValues, grid: tuple[int, int]
    ) -> Tensor:
        k, v = self.pool(k, grid), self.pool(v, grid)
        return self.attend_groups(q[:, None], k[:, None], v[:, None], prefix)[:, 0]

    def pool(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, h * w, heads, head_dim) -> (B, cells, heads, head_dim)."""
        maps = x.flatten(2).unflatten(1, grid).permute(0, 3, 1, 2)
        if self.stride is not None:
            maps = F.avg_pool2d(maps, self.stride, ceil_mode=True)
        else:
            size = (min(self.pool_size, grid[0]), min(self.pool_size, grid[1]))
            maps = F.adaptive_avg_pool2d(maps, size)
        return maps.flatten(2).transpose(1, 2).unflatten(-1, x.shape[2:])
