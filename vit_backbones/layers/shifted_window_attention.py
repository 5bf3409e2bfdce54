"""Multi-head self-attention within (shifted) windows, as in Swin and Swin v2."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .biased_attention import biased_attention
from .chunks import split_rows
from .linear import Linear, is_plain, linear
from .relative_bias import bias_from_table, log_spaced_offsets, resize_bias_table
from .shifted_window import WindowPlan, blank_slots, flat_rows, join_windows, split_windows


class ShiftedWindowAttention(nn.Module):
    """What the two versions share: tokens to windows, queries, keys and values, and back.

    Args:
        dim: Width of the tokens.
        num_heads: Heads; divides ``dim``.
        qkv_bias: Bias of the projection to queries, keys and values.
        attn_drop: Dropout on attention weights.
        proj_drop: Dropout on the output.
    """

    def __init__(
        self, dim: int, num_heads: int, qkv_bias: bool, attn_drop: float, proj_drop: float
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attn_drop = attn_drop
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)
        self.register_load_state_dict_pre_hook(_adapt_on_load)

    def forward(self, x: Tensor, plan: WindowPlan) -> Tensor:
        """Tokens of the map (B, h * w, dim) -> the same."""
        bias = self.position_bias(plan.window)
        windows = self.attend(split_windows(x, plan), bias, plan.mask)
        x = join_windows(windows, plan, batch=x.shape[0])
        return self.proj_drop(self.proj(x))

    def attend(self, windows: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
        """All but the projection of the result: (B * windows, N, dim) -> the same."""
        qkv = self.project(windows).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        qkv, scale = self.scale(qkv)
        dropout = self.attn_drop if self.training else 0.0
        return biased_attention(qkv, bias, mask, scale, dropout).transpose(1, 2).flatten(2)

    def attend_by_parts(self, x: Tensor, norm: nn.Module, plan: WindowPlan) -> Tensor:
        """``attend`` on the windows of ``norm(x)``, a few at a time: tokens of the map
        (B, h * w, dim) -> (B * slots, dim), in the order of the windows."""
        N, bias = plan.window**2, self.position_bias(plan.window)
        rows = flat_rows(plan.split.index, x.shape[0], x.shape[1])
        numbers = torch.arange(rows.numel() // N, device=x.device) % (plan.split.index.numel() // N)
        padding = blank_slots(plan)
        out = x.new_empty(rows.numel(), x.shape[-1])
        x = x.flatten(0, 1)
        per_window = 3 * N * x.shape[-1]
        parts = (split_rows(t.reshape(-1, N, *t.shape[1:]), per_window) for t in (rows, out))
        for rows, result, window in zip(*parts, split_rows(numbers, per_window)):
            windows = norm(x.index_select(0, rows.flatten())).unflatten(0, (-1, N))
            if padding is not None:
                windows.masked_fill_(padding[window], 0.0)
            mask = None if plan.mask is None else plan.mask.index_select(0, window)
            result.copy_(self.attend(windows, bias, mask))
        return out

    def project(self, x: Tensor) -> Tensor:
        """(..., dim) -> queries, keys and values (..., 3 * dim)."""
        return self.qkv(x)

    def scale(self, qkv: Tensor) -> tuple[Tensor | tuple[Tensor, Tensor, Tensor], float]:
        """Queries, keys and values (3, B * windows, heads, N, head_dim), or a tuple of them, and
        the factor of q k^T that is left to apply."""
        raise NotImplementedError

    def position_bias(self, window: int) -> Tensor:
        """What is added to the logits in windows of that side, (heads, N, N)."""
        raise NotImplementedError


class TableWindowAttention(ShiftedWindowAttention):
    """Swin's: softmax(q k^T / sqrt(d) + B) v with a table of biases B, one for each offset and head
    (Liu et al. 2021, equation 4).

    Args:
        dim, num_heads, qkv_bias, attn_drop, proj_drop: See :class:`ShiftedWindowAttention`.
        window: Side of the window for which the table is held; smaller windows use a part of it.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window: int,
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__(dim, num_heads, qkv_bias, attn_drop, proj_drop)
        self.window = window
        self.relative_position_bias_table = nn.Parameter(
            torch.empty((2 * window - 1) ** 2, num_heads)
        )
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def scale(self, qkv: Tensor) -> tuple[Tensor, float]:
        return qkv, qkv.shape[-1] ** -0.5

    def position_bias(self, window: int) -> Tensor:
        return bias_from_table(self.relative_position_bias_table, window, self.window)


class CosineWindowAttention(ShiftedWindowAttention):
    """Swin v2's: softmax(cos(q, k) / tau + B) v with a learned temperature tau >= 0.01 for each
    head and B an MLP of the log-spaced offset (Liu et al. 2022, equations 2 to 4). Keys have no
    bias.

    Args:
        dim, num_heads, qkv_bias, attn_drop, proj_drop: See :class:`ShiftedWindowAttention`.
        pretrained_window: Side of the window of the pre-training, where the weights come from one
            with another window; 0: the same.
    """

    MAX_LOGIT_SCALE = math.log(100.0)

    def __init__(
        self,
        dim: int,
        num_heads: int,
        pretrained_window: int = 0,
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__(dim, num_heads, False, attn_drop, proj_drop)
        self.pretrained_window = pretrained_window
        self.q_bias = nn.Parameter(torch.zeros(dim)) if qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(dim)) if qkv_bias else None
        self.logit_scale = nn.Parameter(torch.full((num_heads, 1, 1), math.log(10.0)))
        self.cpb_mlp = nn.Sequential(
            nn.Linear(2, 512), nn.ReLU(), nn.Linear(512, num_heads, bias=False)
        )

    def project(self, x: Tensor) -> Tensor:
        if self.q_bias is None:
            return self.qkv(x)
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        if is_plain(self.qkv):
            return linear(x, self.qkv.weight, bias)
        qkv = self.qkv(x)
        return qkv + bias.to(qkv.dtype)

    def scale(self, qkv: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], float]:
        q, k, v = qkv
        scale = self.logit_scale.clamp(max=self.MAX_LOGIT_SCALE).exp()
        q, k = _unit(q) * scale, _unit(k)
        return (q.to(v.dtype), k.to(v.dtype), v), 1.0

    def position_bias(self, window: int) -> Tensor:
        offsets = log_spaced_offsets(window, self.pretrained_window, like=self.logit_scale)
        table = 16 * torch.sigmoid(self.cpb_mlp(offsets))
        return bias_from_table(table, window, window)


def _unit(x: Tensor) -> Tensor:
    """Vectors (..., d) of length 1; zero, as keys in the padding are, stays zero. F.normalize would
    divide its gradient by 1e-12, more than half precision holds."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=dtype)
    return x / length.masked_fill(length == 0, 1.0)


def _adapt_on_load(module: ShiftedWindowAttention, state_dict: dict, prefix: str, *_) -> None:
    """A ``load_state_dict`` pre-hook: leave out the constants that the authors' files hold, and fit
    the bias table of a file made with another window."""
    for name in ("relative_position_index", "relative_coords_table"):
        state_dict.pop(prefix + name, None)
    key = prefix + "relative_position_bias_table"
    if isinstance(module, TableWindowAttention) and key in state_dict:
        state_dict[key] = resize_bias_table(state_dict[key], module.window)
