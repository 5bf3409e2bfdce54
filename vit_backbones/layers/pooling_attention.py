"""Multi-head pooling attention, the attention of multiscale vision transformers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .decomposed_attention import attend_with_decomposed_bias
from .linear import Linear, has_hooks
from .relative import resize_tables_on_load
from .split_linear import split_linear
from .window import merge_windows, partition_windows


@dataclass(frozen=True)
class Pooling:
    """One pooling operator on maps: 'conv' (depthwise), 'max' or 'avg', padded by half its kernel,
    so that a side of n becomes ceil(n / stride).

    Attributes:
        mode: Which of the three.
        kernel: Side of the square kernel, odd.
        stride: Step in both directions.
    """

    mode: str
    kernel: int
    stride: int

    def __call__(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Maps (B, C, H, W) -> (B, C, h, w); 'conv' takes its ``weight`` (C, 1, kernel, kernel)."""
        padding = self.kernel // 2
        if self.mode == "conv":
            return F.conv2d(x, weight, None, self.stride, padding, groups=x.shape[1])
        if self.mode == "max":
            return F.max_pool2d(x, self.kernel, self.stride, padding)
        return F.avg_pool2d(x, self.kernel, self.stride, padding)


def pool_tokens(
    x: Tensor, grid: tuple[int, int], pool: Callable[[Tensor], Tensor]
) -> tuple[Tensor, tuple[int, int]]:
    """Pool the patches among tokens (B, P + h * w, C) as maps (B, C, h, w); the P prefix tokens
    stay as they are. Also the new grid."""
    prefix = x.shape[1] - grid[0] * grid[1]
    # channels stay innermost: the map is a view, and so are the tokens of the result
    patches = x[:, prefix:].unflatten(1, grid).permute(0, 3, 1, 2)
    pooled = pool(patches).permute(0, 2, 3, 1)
    tokens = pooled.flatten(1, 2)
    if prefix:
        tokens = torch.cat([x[:, :prefix], tokens], dim=1)
    return tokens, (pooled.shape[1], pooled.shape[2])


class PoolingAttention(nn.Module):
    """Attention whose queries, keys and values are pooled on the grid after their projection (MViT,
    Fan et al. 2021, section 3.1), with MViTv2's decomposed relative position, residual pooling and
    windows (Li et al. 2022, sections 4.1 and 4.2).

    Parameter names are those of the authors' code. A 'conv' pooling has one depthwise kernel and
    one norm for all heads, as there.

    Args:
        dim: Width of the input tokens.
        out_dim: Width of queries, keys, values and output; divides by ``num_heads``.
        num_heads: Heads.
        pool_q: Pooling of the queries, or None.
        pool_kv: Pooling of the keys and values, or None.
        qkv_bias: Bias in the joint projection.
        rel_pos_grid: Input (h, w) for which to hold relative position tables, or None for no
            relative position.
        residual_pooling: Add the pooled queries to the attention's result (equation 6 of MViTv2).
        window: Side of the window on the input grid, or None for global attention. Pooling comes
            first; then maps are padded with zeros to multiples of the window, and the padding takes
            part as keys, as in the authors' detection code. No prefix tokens then.
        norm_eps: Epsilon of the norms after pooling.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        num_heads: int,
        pool_q: Pooling | None = None,
        pool_kv: Pooling | None = None,
        qkv_bias: bool = True,
        rel_pos_grid: tuple[int, int] | None = None,
        residual_pooling: bool = True,
        window: int | None = None,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = out_dim // num_heads
        self.scale = self.head_dim**-0.5
        self.residual_pooling = residual_pooling
        self.pooling = {"q": pool_q, "k": pool_kv, "v": pool_kv}
        self.qkv = Linear(dim, 3 * out_dim, bias=qkv_bias)
        self.proj = Linear(out_dim, out_dim)
        for name, pooling in self.pooling.items():
            if pooling is not None and pooling.mode == "conv":
                conv = nn.Conv2d(
                    self.head_dim,
                    self.head_dim,
                    pooling.kernel,
                    pooling.stride,
                    padding=pooling.kernel // 2,
                    groups=self.head_dim,
                    bias=False,
                )
                setattr(self, f"pool_{name}", conv)
                setattr(self, f"norm_{name}", nn.LayerNorm(self.head_dim, eps=norm_eps))

        q_stride = pool_q.stride if pool_q else 1
        kv_stride = pool_kv.stride if pool_kv else 1
        self.window = window
        if window is not None:
            self.q_window = (window // q_stride,) * 2
            self.kv_window = (window // kv_stride,) * 2
        self.has_rel_pos = rel_pos_grid is not None
        if rel_pos_grid is not None:
            finer = min(q_stride, kv_stride)
            for name, side in zip("hw", rel_pos_grid):
                length = 2 * -(-side // finer) - 1
                setattr(self, f"rel_pos_{name}", nn.Parameter(torch.zeros(length, self.head_dim)))
            self.register_load_state_dict_pre_hook(resize_tables_on_load)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """(B, P + h * w, dim), P prefix tokens and then the grid in row-major order -> the same for
        the queries' grid (B, P + h' * w', out_dim), and that grid."""
        # pooling wants whole maps: apart they are, of one product they would be strided views
        q, k, v = split_linear(self.qkv, x, 3)
        q, q_grid = self.pool(q, "q", grid)
        k, kv_grid = self.pool(k, "k", grid)
        v, _ = self.pool(v, "v", grid)
        if self.window is None:
            out = self.attend(q, k, v, q_grid, kv_grid)
        else:
            q_windows, padded = partition_windows(q.unflatten(1, q_grid), self.q_window)
            k_windows, _ = partition_windows(k.unflatten(1, kv_grid), self.kv_window)
            v_windows, _ = partition_windows(v.unflatten(1, kv_grid), self.kv_window)
            out = self.attend(q_windows, k_windows, v_windows, self.q_window, self.kv_window)
            out = merge_windows(out, self.q_window, padded, q_grid).flatten(1, 2)
        if self.residual_pooling:
            out = out + q
        return self.proj(out), q_grid

    def pool(self, x: Tensor, name: str, grid: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """Pool and norm one of q, k, v: (B, P + h * w, out_dim) -> (B, P + h' * w', out_dim), and
        (h', w')."""
        pooling = self.pooling[name]
        if pooling is None:
            return x, grid
        if pooling.mode != "conv":
            return pool_tokens(x, grid, pooling)
        conv, norm = getattr(self, f"pool_{name}"), getattr(self, f"norm_{name}")
        heads = (self.num_heads, self.head_dim)
        if type(conv) is nn.Conv2d and not has_hooks(conv):
            # all heads at once: a kernel per channel is the head's kernel, repeated
            weight = conv.weight.repeat(self.num_heads, 1, 1, 1)
            x, grid = pool_tokens(x, grid, lambda maps: pooling(maps, weight))
            x = x.unflatten(-1, heads)
        else:
            B = x.shape[0]
            x = x.unflatten(-1, heads).transpose(1, 2).flatten(0, 1)
            x, grid = pool_tokens(x, grid, conv)
            x = x.unflatten(0, (B, self.num_heads)).transpose(1, 2)
        return norm(x).flatten(2), grid

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, q_grid: tuple[int, int], kv_grid: tuple[int, int]
    ) -> Tensor:
        """The attention itself on tokens (B, N, out_dim) each -> the shape of q."""
        heads = (self.num_heads, self.head_dim)
        q, k, v = (t.unflatten(-1, heads).transpose(1, 2) for t in (q, k, v))
        if self.has_rel_pos:
            out = attend_with_decomposed_bias(
                q, k, v, self.rel_pos_h, self.rel_pos_w, q_grid, kv_grid, self.scale
            )
        else:
            out = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return out.transpose(1, 2).flatten(2)
