"""The sparse transformer's fixed pattern."""

from __future__ import annotations

import torch
from torch import Tensor

from ..arguments import check_positive
from .efficient_attention import EfficientAttention, KeysValues


class StridedAttention(EfficientAttention):
    """Each patch sees its own block of consecutive patches, and the summary patches of all blocks:
    the 'fixed' pattern of the sparse transformer (Child et al. 2019, section 4.3), both its sets of
    keys merged in one softmax (section 5.1, second way).

    On an image a block is one row of the grid: the stride l is its width. The summary patches are
    the last c of each block, so they lie l apart in row-major order. Images have no causal order:
    the paper's bound on keys, j <= i, is left out. O(n sqrt n) for n patches of a square grid.

    Args:
        summary_columns: c; all columns where the grid has fewer.

    Raises:
        UserError: ``summary_columns`` is no positive integer.
    """

    def __init__(self, dim: int, num_heads: int, summary_columns: int = 4, **kwargs) -> None:
        check_positive("summary_columns", summary_columns)
        super().__init__(dim, num_heads, **kwargs)
        self.summary_columns = summary_columns

    def attend_patches(
        self, q: Tensor, k: Tensor, v: Tensor, prefix: KeysValues, grid: tuple[int, int]
    ) -> Tensor:
        own = max(grid[1] - self.summary_columns, 0)
        q, k, v = (t.unflatten(1, grid) for t in (q, k, v))
        # a row's summary patches reach it with all the others, once
        shared = tuple(
            torch.cat([p, t[:, :, own:].flatten(1, 2)], dim=1) for p, t in zip(prefix, (k, v))
        )
        return self.attend_groups(q, k[:, :, :own], v[:, :, :own], shared).flatten(1, 2)
