"""Attention with a decomposed relative position bias, in memory that grows with the tokens."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from .chunks import gradients
from .linear import runs_eagerly_on_cpu
from .relative import decomposed_bias, fold_decomposed_bias

# Scores that are held at a time: 8 MiB in float32. Fewer would fit a core's own cache, but with
# several threads each step on them is too short for sharing it out.
_SCORES = 2**21
_MIN_ROWS = 128  # fewer queries at a time make matrix products slow


def attend_with_decomposed_bias(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_pos_h: Tensor,
    rel_pos_w: Tensor,
    q_grid: tuple[int, int],
    k_grid: tuple[int, int],
    scale: float,
) -> Tensor:
    """softmax(scale q.k + q.Rh[row distance] + q.Rw[column distance]) v (ViTDet, MViTv2).

    On the CPU a part of the queries at a time, whose scores fit the cache; elsewhere (other devices
    and precisions, prefix tokens, compiling, exporting, torch.func) one
    ``scaled_dot_product_attention`` with the bias folded into queries and keys, whose heads are
    wider by the sum of the keys' sides.

    Args:
        q, k, v: (B, heads, tokens, head_dim); tokens are any prefix tokens, which take no part in
            the bias, and then the grid in row-major order.
        rel_pos_h, rel_pos_w: Tables (L, head_dim), see :func:`~.relative.relative_table`.
        q_grid, k_grid: (h, w) of the queries and of the keys.
        scale: The attention's 1 / sqrt(head_dim).

    Returns:
        The shape of q.
    """
    if _takes_chunks(q, k, v, q_grid, k_grid):
        bias = decomposed_bias(q, rel_pos_h, rel_pos_w, q_grid, k_grid)
        if torch.is_grad_enabled():
            return _ChunkedAttention.apply(q, k, v, *bias, scale)
        return _attend(q, k, v, *bias, scale)
    head_dim = q.shape[-1]
    q, k, v = fold_decomposed_bias(q, k, v, rel_pos_h, rel_pos_w, q_grid, k_grid, scale)
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :head_dim]


def _takes_chunks(
    q: Tensor, k: Tensor, v: Tensor, q_grid: tuple[int, int], k_grid: tuple[int, int]
) -> bool:
    return (
        runs_eagerly_on_cpu(q, k, v)
        and q.shape[2] == q_grid[0] * q_grid[1]
        and k.shape[2] == k_grid[0] * k_grid[1]
    )


class _ChunkedAttention(torch.autograd.Function):
    """Keeps no scores: the gradient computes them again, a chunk at a time."""

    @staticmethod
    def forward(ctx, q, k, v, bias_h, bias_w, scale: float) -> Tensor:
        ctx.save_for_backward(q, k, v, bias_h, bias_w)
        ctx.scale = scale
        return _attend(q, k, v, bias_h, bias_w, scale)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias_h, bias_w = ctx.saved_tensors
        if torch.is_grad_enabled():
            needed = ctx.needs_input_grad[:5]
            inputs = (q, k, v, bias_h, bias_w)
            return *gradients(lambda *i: _definition(*i, ctx.scale), inputs, needed, gradient), None

        q, k, v, gradient = _as_matrices(q, k, v, gradient)
        dq, dbias_h, dbias_w = (torch.empty_like(t) for t in (q, bias_h, bias_w))
        dk, dv = torch.zeros_like(k), torch.zeros_like(v)
        for queries, keys in _chunks(q, k):
            weights = _weights(q[queries], k[keys], bias_h[queries], bias_w[queries], ctx.scale)
            dv[keys].baddbmm_(weights.transpose(1, 2), gradient[queries])
            dweights = gradient[queries] @ v[keys].transpose(1, 2)
            dscores = torch._softmax_backward_data(dweights, weights, -1, weights.dtype)
            dq[queries] = dscores @ k[keys]
            dk[keys].baddbmm_(dscores.transpose(1, 2), q[queries])
            dscores = dscores.unflatten(-1, (bias_h.shape[-1], bias_w.shape[-1]))
            dbias_h[queries] = dscores.sum(-1)
            dbias_w[queries] = dscores.sum(-2)
        return dq.mul_(ctx.scale), dk.mul_(ctx.scale), dv, dbias_h, dbias_w, None


def _definition(
    q: Tensor, k: Tensor, v: Tensor, bias_h: Tensor, bias_w: Tensor, scale: float
) -> Tensor:
    bias = (bias_h[..., :, None] + bias_w[..., None, :]).flatten(-2)
    return (scale * q @ k.transpose(-2, -1) + bias).softmax(dim=-1) @ v


def _attend(
    q: Tensor, k: Tensor, v: Tensor, bias_h: Tensor, bias_w: Tensor, scale: float
) -> Tensor:
    """The attention, a chunk of the queries at a time: the shape of q."""
    out = torch.empty_like(q)
    q, k, v = _as_matrices(q, k, v)
    for queries, keys in _chunks(q, k):
        weights = _weights(q[queries], k[keys], bias_h[queries], bias_w[queries], scale)
        out[queries] = weights @ v[keys]
    return out


def _as_matrices(q: Tensor, k: Tensor, *others: Tensor) -> list[Tensor]:
    """Each head as a matrix without gaps, for faster products, where more than one chunk of the
    queries needs the keys: for a single one the copies cost more than they save."""
    several = _rows_at_once(q, k) < q.shape[2]
    return [t.contiguous() if several else t for t in (q, k, *others)]


def _weights(q: Tensor, k: Tensor, bias_h: Tensor, bias_w: Tensor, scale: float) -> Tensor:
    """The attention weights of a chunk: (heads, queries, keys)."""
    scores = (bias_h[..., :, None] + bias_w[..., None, :]).flatten(-2)
    scores.baddbmm_(q, k.transpose(1, 2), alpha=scale)
    return torch.softmax(scores, -1, out=scores)  # row by row: a second tensor takes more cache


def _chunks(q: Tensor, k: Tensor) -> Iterator[tuple[tuple, tuple]]:
    """Indices (sample, heads, queries) and (sample, heads) of parts whose scores fit the cache."""
    B, heads, Q, _ = q.shape
    rows = _rows_at_once(q, k)
    heads_at_once = max(_SCORES // (rows * k.shape[2]), 1)
    for b in range(B):
        for first in range(0, heads, heads_at_once):
            keys = (b, slice(first, first + heads_at_once))
            for row in range(0, Q, rows):
                yield (*keys, slice(row, row + rows)), keys


def _rows_at_once(q: Tensor, k: Tensor) -> int:
    """Queries of a chunk."""
    Q, K = q.shape[2], k.shape[2]
    rows = min(Q, max(_SCORES // K, _MIN_ROWS))
    return -(-Q // -(-Q // rows))  # the same number of chunks, all about as large
