"""softmax(scale q k^T + bias + mask) v in many small windows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from .chunks import gradients, records_gradients
from .linear import runs_eagerly_on_cpu

# Logits of a part, in float32: 4 MiB. Smaller parts would fit a core's own cache, but with several
# threads each step on a part is too short for sharing it out.
LOGITS = 2**20


def biased_attention(
    qkv: Tensor | tuple[Tensor, Tensor, Tensor],
    bias: Tensor,
    mask: Tensor | None,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """Attention in B windows of N slots: (B, heads, N, head_dim).

    Args:
        qkv: Queries, keys and values (3, B, heads, N, head_dim), or a tuple of the three.
        bias: (heads, N, N), added to the logits.
        mask: (windows, 1, N, N), added to the logits of window b at b modulo ``windows``; None:
            nothing.
        scale: Factor of q k^T.
        dropout: Rate on the weights.
    """
    q, k, v = qkv
    bias = bias.to(q.dtype)
    if q.device.type == "cpu" and records_gradients(bias):
        # scaled_dot_product_attention has no kernel for it, and is slower than this
        if dropout == 0.0 and runs_eagerly_on_cpu(q, bias):
            qkv = torch.stack(qkv) if isinstance(qkv, tuple) else qkv
            return _BiasedAttention.apply(qkv, bias, mask, scale)
        return _definition(q, k, v, bias, mask, scale, dropout)
    if mask is None:
        bias = bias[None]
    else:
        bias = bias + mask.to(bias.dtype)
        if mask.shape[0] < q.shape[0]:
            bias = bias.repeat(q.shape[0] // mask.shape[0], 1, 1, 1)
    return F.scaled_dot_product_attention(q, k, v, bias, dropout, scale=scale)


def _definition(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    mask: Tensor | None,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    logits = (q * scale) @ k.transpose(-2, -1)
    if mask is not None:
        bias = bias + mask.to(bias.dtype)
        logits = logits.unflatten(0, (-1, mask.shape[0]))
    weights = (logits + bias).softmax(dim=-1).reshape(-1, *logits.shape[-3:])
    return F.dropout(weights, dropout) @ v


class _BiasedAttention(torch.autograd.Function):
    """A few windows at a time, which the cache holds; weights are kept, and logits are not. Results
    and gradients lie as the linear layers around want them: slot by slot, head beside head."""

    @staticmethod
    def forward(ctx, qkv: Tensor, bias: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        _, B, heads, N, dim = qkv.shape
        out = qkv.new_empty(B, N, heads, dim).transpose(1, 2)
        weights = []
        for windows in _parts(B, bias.numel()):
            q, k, v = _matrices(qkv[:, windows], scale)
            logits = _logit_terms(bias, mask, windows).expand(len(q) // heads, -1, -1, -1)
            weights.append(torch.baddbmm(logits.flatten(0, 1), q, k.mT).softmax(dim=-1))
            out[windows] = torch.bmm(weights[-1], v).unflatten(0, (-1, heads))
        ctx.scale = scale
        ctx.save_for_backward(qkv, bias, mask, *weights)
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        qkv, bias, mask, *weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            needed = ctx.needs_input_grad[:2]
            found = gradients(
                lambda qkv, bias: _definition(*qkv, bias, mask, ctx.scale),
                (qkv, bias),
                needed,
                gradient,
            )
            return *found, None, None

        _, B, heads, N, dim = qkv.shape
        dqkv = qkv.new_empty(B, N, 3, heads, dim).permute(2, 0, 3, 1, 4)
        dbias = torch.zeros_like(bias)
        for windows, p in zip(_parts(B, bias.numel()), weights):
            q, k, v = _matrices(qkv[:, windows], ctx.scale)
            g = gradient[windows].reshape(-1, N, dim)
            dlogits = torch._softmax_backward_data(torch.bmm(g, v.mT), p, -1, p.dtype)
            dbias += dlogits.unflatten(0, (-1, heads)).sum(0)
            dq = torch.bmm(dlogits, k).mul_(ctx.scale)
            products = (dq, torch.bmm(dlogits.mT, q), torch.bmm(p.mT, g))
            for result, product in zip(dqkv[:, windows], products):
                result.copy_(product.unflatten(0, (-1, heads)))
        return dqkv, dbias, None, None


def _parts(windows: int, logits: int) -> Iterator[slice]:
    """Slices of so many windows of so many logits each."""
    step = max(1, LOGITS // logits)
    return (slice(i, min(i + step, windows)) for i in range(0, windows, step))


def _logit_terms(bias: Tensor, mask: Tensor | None, windows: slice) -> Tensor:
    """What is added to the logits of some windows: (windows or 1, heads, N, N)."""
    if mask is None:
        return bias[None]
    numbers = torch.arange(windows.start, windows.stop) % mask.shape[0]
    return bias + mask.index_select(0, numbers)


def _matrices(qkv: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """(3, B, heads, N, head_dim) -> scale q, k and v, (B * heads, N, head_dim) each."""
    q, k, v = qkv.flatten(1, 2).unbind(0)
    return q * scale, k, v
