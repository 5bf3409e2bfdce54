"""Multi-head self-attention over all tokens, and what its efficient kinds share with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .decomposed_attention import attend_with_decomposed_bias
from .linear import Linear, linear
from .relative import fold_decomposed_bias, resize_tables_on_load
from .rope import apply_rotary


class MaskedKeyBiasLinear(Linear):
    """The joint query, key, value projection with the keys' bias held at zero (DINOv3's masked key
    bias).

    Under RoPE a key bias is not a no-op of the softmax, so DINOv3 masks it; its files carry the
    mask, which is dropped on loading.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.register_load_state_dict_pre_hook(_drop_bias_mask)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, without_key_bias(self.bias))


def without_key_bias(bias: Tensor) -> Tensor:
    """The joint bias (3 * dim,) with zeros for the keys, whatever is there: DINOv3's files hold
    NaN."""
    q, k, v = bias.chunk(3)
    return torch.cat([q, torch.zeros_like(k), v])


def _drop_bias_mask(module: nn.Module, state_dict: dict, prefix: str, *_) -> None:
    state_dict.pop(prefix + "bias_mask", None)


class SelfAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V over all tokens (Vaswani et al. 2017, section 3.2).

    Every attention brick has this interface: ``forward(x, grid, rope)`` with x (B, P + h * w, dim),
    P prefix tokens before the grid's patches in row-major order. The kinds differ in ``attend``.

    Args:
        dim: Width of the tokens.
        num_heads: Heads; ``dim`` divides by it.
        qkv_bias: Bias in the joint projection.
        key_bias: False holds the keys' part of that bias at zero (DINOv3).
        qk_norm: LayerNorm on the queries and keys of each head (ViT-22B, Dehghani et al. 2023,
            equation 3).
        norm_eps: Epsilon of that norm.
        attn_drop: Dropout on the attention weights.
        proj_drop: Dropout on the output.
        rel_pos_grid: (h, w) for which to hold decomposed relative position tables
            (layers/relative.py), or None.
    """

    takes_decomposed_position = True

    def __init__(
        self,
        dim: int,
        num_heads: int,
        qkv_bias: bool = True,
        key_bias: bool = True,
        qk_norm: bool = False,
        norm_eps: float = 1e-6,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        rel_pos_grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.scale = self.head_dim**-0.5
        self.attn_drop = attn_drop
        if qkv_bias and not key_bias:
            self.qkv = MaskedKeyBiasLinear(dim, 3 * dim)
        else:
            self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.q_norm = nn.LayerNorm(self.head_dim, eps=norm_eps) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(self.head_dim, eps=norm_eps) if qk_norm else nn.Identity()
        self.proj = Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)
        self.has_rel_pos = rel_pos_grid is not None
        if rel_pos_grid is not None:
            h, w = rel_pos_grid
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * h - 1, self.head_dim))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * w - 1, self.head_dim))
            self.register_load_state_dict_pre_hook(resize_tables_on_load)

    def forward(
        self, x: Tensor, grid: tuple[int, int], rope: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        q, k, v = self.project(x)
        if rope is not None:
            q, k = apply_rotary(q, *rope), apply_rotary(k, *rope)
        return self.merge_heads(self.attend(q, k, v, grid))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (B, N, dim) -> queries, keys, values, each (B, heads, N, head_dim)."""
        B, N, _ = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        return self.q_norm(q), self.k_norm(k), v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        """The attention itself: (B, heads, N, head_dim) each -> the same."""
        return self.attend_densely(q, k, v, grid)

    def attend_densely(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        grid: tuple[int, int] | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Every query sees every key, or those that ``mask`` lets it see.

        Args:
            q, k, v: (B, heads, tokens, head_dim); the tokens end with those of ``grid``.
            grid: (h, w) for the relative position, where this brick has one; None: without it.
            mask: Broadcasts to (B, heads, queries, keys), True where a query sees a key.
        """
        scale = self.scale
        dropout = self.attn_drop if self.training else 0.0
        if self.has_rel_pos and grid is not None:
            position = self.rel_pos_h, self.rel_pos_w, grid, grid, scale
            if mask is None and not dropout:
                return attend_with_decomposed_bias(q, k, v, *position)
            q, k, v = fold_decomposed_bias(q, k, v, *position)
            scale = 1.0
        x = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout, scale=scale)
        return x[..., : self.head_dim]

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, heads, N, head_dim) -> projected tokens (B, N, dim)."""
        return self.proj_drop(self.proj(x.transpose(1, 2).flatten(2)))
