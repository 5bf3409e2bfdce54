"""Low-rank attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..arguments import check_positive
from ..errors import UserError, nearest
from .efficient_attention import EfficientAttention, KeysValues
from .position import resize_pos_embed

SHARING = ("none", "headwise", "key-value")


class LinformerAttention(EfficientAttention):
    """softmax(Q (E K)^T / sqrt(d)) F V with learnt E and F that map the n patches to k rows
    (Linformer, Wang et al. 2020, section 4, equation 7). O(n k).

    E and F belong to a grid. For another one each of their rows is resized as a map, and scaled by
    the ratio of the patch counts, so that the sums over the image keep their size; the same happens
    when a checkpoint of another grid is loaded. They start at a variance of 1 / n, so that
    projected keys and values start as large as those of a patch.

    Args:
        grid: Patches (h, w) for which E and F are held.
        rank: k; it saves nothing above the number of patches.
        sharing: Section 4's 'none' (E and F per head), 'headwise' (all heads share E and F) or
            'key-value' (and F is E).

    Raises:
        UserError: ``rank`` or ``grid`` is not positive, or ``sharing`` is unknown.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        grid: tuple[int, int],
        rank: int = 64,
        sharing: str = "headwise",
        **kwargs,
    ) -> None:
        check_positive("rank", rank)
        if len(grid) != 2 or any(not isinstance(side, int) or side < 1 for side in grid):
            raise UserError(f"grid must be two positive integers (height, width), not {grid!r}")
        if sharing not in SHARING:
            raise UserError(
                f"sharing {sharing!r} is unknown{nearest(sharing, SHARING) or '.'} "
                f"The kinds: {', '.join(SHARING)}"
            )
        super().__init__(dim, num_heads, **kwargs)
        shape = (num_heads if sharing == "none" else 1, rank, *grid)
        std = (grid[0] * grid[1]) ** -0.5
        self.key_projection = nn.Parameter(torch.empty(shape))
        nn.init.normal_(self.key_projection, std=std)
        if sharing == "key-value":
            self.value_projection = None
        else:
            self.value_projection = nn.Parameter(torch.empty(shape))
            nn.init.normal_(self.value_projection, std=std)
        self.register_load_state_dict_pre_hook(_resize_projections)

    def attend_patches(
        self, q: Tensor, k: Tensor, v: Tensor, prefix: KeysValues, grid: tuple[int, int]
    ) -> Tensor:
        E = resize_projection(self.key_projection, grid).flatten(2)
        F = E
        if self.value_projection is not None:
            F = resize_projection(self.value_projection, grid).flatten(2)
        k = torch.einsum("hrn,bnhd->brhd", E, k)
        v = torch.einsum("hrn,bnhd->brhd", F, v)
        return self.attend_groups(q[:, None], k[:, None], v[:, None], prefix)[:, 0]


def resize_projection(projection: Tensor, grid: tuple[int, int]) -> Tensor:
    """A projection for another grid: (heads or 1, rank, h, w) -> (..., *grid)."""
    old = (projection.shape[2], projection.shape[3])
    if old == grid:
        return projection
    maps = projection.flatten(0, 1).flatten(1).T[None]
    resized = resize_pos_embed(maps, old, grid)[0].T.reshape(*projection.shape[:2], *grid)
    return resized * (old[0] * old[1] / (grid[0] * grid[1]))


def _resize_projections(module: LinformerAttention, state_dict: dict, prefix: str, *_) -> None:
    """Fit the projections of a file made for another input size."""
    for name in ("key_projection", "value_projection"):
        loaded, own = state_dict.get(prefix + name), getattr(module, name)
        if loaded is not None and own is not None and loaded.shape[:2] == own.shape[:2]:
            state_dict[prefix + name] = resize_projection(loaded, (own.shape[2], own.shape[3]))
