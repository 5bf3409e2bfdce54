"""What the kinds of attention share in which a patch does not see every patch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import UserError
from .attention import SelfAttention

KeysValues = tuple[Tensor, Tensor]


class EfficientAttention(SelfAttention):
    """Base of the kinds that cost less than every patch seeing every patch.

    One rule for prefix tokens (class token, registers) holds in all of them: they are global. A
    prefix token sees every token, and a patch sees the prefix tokens beside what its own pattern
    lets it see, in one softmax (the global tokens of Longformer, Beltagy et al. 2020, section 3.1,
    and of BigBird-ETC, Zaheer et al. 2020, section 2; here with the patches' own projections). P of
    them cost O(P n).

    RoPE turns queries and keys by their place in the image before any pattern is cut, so scores
    depend on the distance as in global attention.

    Raises:
        UserError: ``rel_pos_grid`` is given to a kind that has no relative position.
    """

    takes_decomposed_position = False

    def __init__(
        self,
        dim: int,
        num_heads: int,
        rel_pos_grid: tuple[int, int] | None = None,
        **kwargs,
    ) -> None:
        if rel_pos_grid is not None and not self.takes_decomposed_position:
            raise UserError(f"{type(self).__name__} has no decomposed relative position")
        super().__init__(dim, num_heads, rel_pos_grid=rel_pos_grid, **kwargs)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        P = q.shape[2] - grid[0] * grid[1]
        q_patches, k_patches, v_patches = (t[:, :, P:].transpose(1, 2) for t in (q, k, v))
        prefix = k[:, :, :P].transpose(1, 2), v[:, :, :P].transpose(1, 2)
        patches = self.attend_patches(q_patches, k_patches, v_patches, prefix, grid)
        patches = patches.transpose(1, 2)
        if not P:
            return patches
        everywhere = self.attend_densely(q[:, :, :P], k, v)
        return torch.cat([everywhere, patches], dim=2)

    def attend_patches(
        self, q: Tensor, k: Tensor, v: Tensor, prefix: KeysValues, grid: tuple[int, int]
    ) -> Tensor:
        """The pattern of the kind.

        Args:
            q, k, v: Of the patches, (B, h * w, heads, head_dim).
            prefix: Keys and values of the prefix tokens, (B, P, heads, head_dim) each; P may be 0.

        Returns:
            (B, h * w, heads, head_dim).
        """
        raise NotImplementedError

    def attend_groups(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        shared: KeysValues,
        grid: tuple[int, int] | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Each group of queries sees its own keys, and those that all groups share.

        Args:
            q: (B, groups, L, heads, head_dim).
            k, v: (B, groups, M, heads, head_dim).
            shared: Keys and values (B, S, heads, head_dim) each.
            grid: (h, w) of a group, for the relative position.
            mask: (groups, L, M), True where a query sees a key of its group; None: everywhere.

        Returns:
            Like q.
        """
        B, groups = q.shape[:2]
        S = shared[0].shape[1]
        if S:
            k, v = (
                torch.cat([s[:, None].expand(-1, groups, -1, -1, -1), own], dim=2)
                for s, own in zip(shared, (k, v))
            )
        if mask is not None:
            mask = F.pad(mask, (S, 0), value=True).expand(B, -1, -1, -1).flatten(0, 1)[:, None]
        q, k, v = (t.flatten(0, 1).transpose(1, 2) for t in (q, k, v))
        x = self.attend_densely(q, k, v, grid, mask)
        return x.transpose(1, 2).unflatten(0, (B, groups))
