"""Multi-head self-attention within (shifted) windows, as in Swin and Swin v2."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .linear import Linear, linear
from .relative_bias import bias_from_table, log_spaced_offsets, resize_bias_table
from .shifted_window import WindowPlan, join_windows, split_windows


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
        qkv = self.project(split_windows(x, plan)).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        windows = self.attend(q, k, v, plan)
        x = join_windows(windows.transpose(1, 2).flatten(2), plan, batch=x.shape[0])
        return self.proj_drop(self.proj(x))

    def project(self, x: Tensor) -> Tensor:
        """(..., dim) -> queries, keys and values (..., 3 * dim)."""
        return self.qkv(x)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: WindowPlan) -> Tensor:
        """The attention itself: (B * windows, heads, N, head_dim) each -> the same."""
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

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: WindowPlan) -> Tensor:
        bias = bias_from_table(self.relative_position_bias_table, plan.window, self.window)
        dropout = self.attn_drop if self.training else 0.0
        return biased_attention(q, k, v, bias, plan.mask, q.shape[-1] ** -0.5, dropout)


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
            nn.Linear(2, 512), nn.ReLU(inplace=True), nn.Linear(512, num_heads, bias=False)
        )

    def project(self, x: Tensor) -> Tensor:
        if self.q_bias is None:
            return self.qkv(x)
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        return linear(x, self.qkv.weight, bias)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: WindowPlan) -> Tensor:
        like = self.cpb_mlp[0].weight
        offsets = log_spaced_offsets(plan.window, self.pretrained_window, like)
        table = 16 * torch.sigmoid(self.cpb_mlp(offsets))
        bias = bias_from_table(table, plan.window, plan.window)
        scale = self.logit_scale.clamp(max=self.MAX_LOGIT_SCALE).exp()
        q = (F.normalize(q, dim=-1) * scale).to(v.dtype)
        k = F.normalize(k, dim=-1).to(v.dtype)
        dropout = self.attn_drop if self.training else 0.0
        return biased_attention(q, k, v, bias, plan.mask, 1.0, dropout)


def biased_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    mask: Tensor | None,
    scale: float,
    dropout: float,
) -> Tensor:
    """softmax(scale q k^T + bias + mask) v.

    Args:
        q, k, v: (B * windows, heads, N, head_dim).
        bias: (heads, N, N).
        mask: (windows, 1, N, N) or None.
        scale: Factor of q k^T.
        dropout: Rate on the weights.
    """
    bias = bias.to(q.dtype)
    if mask is not None:
        bias = bias + mask.to(q.dtype)
    if q.device.type == "cpu" and bias.requires_grad and torch.is_grad_enabled():
        # scaled_dot_product_attention has no kernel for it, and is slower than this
        logits = (q * scale) @ k.transpose(-2, -1)
        if mask is not None:
            logits = logits.unflatten(0, (-1, mask.shape[0]))
        weights = (logits + bias).softmax(dim=-1).reshape(-1, *logits.shape[-3:])
        return F.dropout(weights, dropout) @ v
    if mask is None:
        bias = bias[None]
    else:
        bias = bias.repeat(q.shape[0] // mask.shape[0], 1, 1, 1)
    return F.scaled_dot_product_attention(q, k, v, bias, dropout, scale=scale)


def _adapt_on_load(module: ShiftedWindowAttention, state_dict: dict, prefix: str, *_) -> None:
    """A ``load_state_dict`` pre-hook: leave out the constants that the authors' files hold, and fit
    the bias table of a file made with another window."""
    for name in ("relative_position_index", "relative_coords_table"):
        state_dict.pop(prefix + name, None)
    key = prefix + "relative_position_bias_table"
    if isinstance(module, TableWindowAttention) and key in state_dict:
        state_dict[key] = resize_bias_table(state_dict[key], module.window)
