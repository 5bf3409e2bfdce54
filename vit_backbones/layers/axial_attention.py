"""Attention along the rows of the grid, then along its columns."""

from __future__ import annotations

from torch import Tensor, nn

from .efficient_attention import EfficientAttention, KeysValues


class AxialAttention(nn.Module):
    """Two attention layers in a row: each patch sees its row, then its column (Axial Transformer,
    Ho et al. 2019, section 3; the pair as one brick: Axial-DeepLab, Wang et al. 2020, section 3.2).
    After both, every patch has seen every other. O(n sqrt n) for n patches of a square grid.

    Each layer has its own projections, so this brick has twice the parameters of the others.

    Args:
        dim, num_heads, kwargs: As for :class:`SelfAttention`, for both layers.
    """

    takes_decomposed_position = False

    def __init__(self, dim: int, num_heads: int, **kwargs) -> None:
        super().__init__()
        self.rows = RowAttention(dim, num_heads, **kwargs)
        self.columns = ColumnAttention(dim, num_heads, **kwargs)

    def forward(
        self, x: Tensor, grid: tuple[int, int], rope: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        return self.columns(self.rows(x, grid, rope), grid, rope)


class RowAttention(EfficientAttention):
    """Each patch sees the patches of its row."""

    def attend_patches(
        self, q: Tensor, k: Tensor, v: Tensor, prefix: KeysValues, grid: tuple[int, int]
    ) -> Tensor:
        q, k, v = (t.unflatten(1, grid) for t in (q, k, v))
        return self.attend_groups(q, k, v, prefix).flatten(1, 2)


class ColumnAttention(EfficientAttention):
    """Each patch sees the patches of its column."""

    def attend_patches(
        self, q: Tensor, k: Tensor, v: Tensor, prefix: KeysValues, grid: tuple[int, int]
    ) -> Tensor:
        q, k, v = (t.unflatten(1, grid).transpose(1, 2) for t in (q, k, v))
        return self.attend_groups(q, k, v, prefix).transpose(1, 2).flatten(1, 2)
