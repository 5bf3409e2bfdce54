"""fc2(gelu(fc1(norm(x)))) part by part, with its gradient written out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .chunks import gradients, records_gradients, split_mlp_rows
from .linear import linear, linear_gelu


class Weights(NamedTuple):
    """Of the linear layers, (out, in) and (out,), and of the norm before them, where there is
    one."""

    fc1_weight: Tensor
    fc1_bias: Tensor
    fc2_weight: Tensor
    fc2_bias: Tensor
    norm_weight: Tensor | None = None
    norm_bias: Tensor | None = None


def gelu_mlp(x: Tensor, weights: Weights, eps: float) -> Tensor:
    """(..., dim) -> (..., out_dim), on the CPU.

    Without gradients, a part of the hidden layer exists at a time. With them, x and the hidden
    layer before its GELU are kept, half of what autograd keeps: norm and GELU are computed again.
    """
    rows = x.reshape(-1, x.shape[-1])
    if records_gradients(x, *weights):
        out = _GeluMlp.apply(eps, rows, *weights)
    elif len(parts := split_mlp_rows(rows, weights.fc1_weight.shape[0])) == 1:
        out = _definition(eps, rows, *weights)
    else:
        out = x.new_empty(rows.shape[0], weights.fc2_weight.shape[0])
        for part, result in zip(parts, out.split(len(parts[0]))):
            result.copy_(_definition(eps, part, *weights))
    return out.reshape(*x.shape[:-1], -1)


def _definition(eps: float, x: Tensor, *weights: Tensor | None) -> Tensor:
    w1, b1, w2, b2, *norm = weights
    return linear(linear_gelu(_norm(eps, x, *norm), w1, b1), w2, b2)


def _norm(eps: float, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    return x if weight is None else F.layer_norm(x, x.shape[-1:], weight, bias, eps)


class _GeluMlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, eps: float, x: Tensor, *weights: Tensor | None) -> Tensor:
        w1, b1, w2, b2, *norm = weights
        hidden, out = [], []
        for part in split_mlp_rows(x, w1.shape[0], training=True):
            hidden.append(linear(_norm(eps, part, *norm), w1, b1))
            out.append(linear(F.gelu(hidden[-1]), w2, b2))
        ctx.eps = eps
        ctx.save_for_backward(x, *weights, *hidden)
        return _joined(out)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        eps, need = ctx.eps, ctx.needs_input_grad[1:]
        saved = ctx.saved_tensors
        inputs, hidden = saved[: len(need)], saved[len(need) :]
        if torch.is_grad_enabled():
            return None, *gradients(lambda *i: _definition(eps, *i), inputs, need, gradient)

        x, w1, _, w2, _, *norm = inputs
        need_x, need_w1, need_b1, need_w2, need_b2, *need_norm = need
        dw1 = db1 = dw2 = db2 = None
        dx, dnorm = [], [None, None]
        parts = (split_mlp_rows(t, w1.shape[0], training=True) for t in (x, gradient))
        for part, g, before in zip(*parts, hidden):
            dw2 = _add_product(dw2, g, F.gelu(before)) if need_w2 else None
            db2 = _add(db2, g.sum(0)) if need_b2 else None
            g = torch.ops.aten.gelu_backward(linear(g, w2.t(), None), before)
            dw1 = _add_product(dw1, g, _norm(eps, part, *norm)) if need_w1 else None
            db1 = _add(db1, g.sum(0)) if need_b1 else None
            if not any((need_x, *need_norm)):
                continue
            g = linear(g, w1.t(), None)
            if norm[0] is not None:
                g, *terms = _norm_backward(eps, g, part, *norm)
                sums = zip(dnorm, terms, need_norm)
                dnorm = [_add(total, term) if needed else None for total, term, needed in sums]
            if need_x:
                dx.append(g)
        return None, _joined(dx) if need_x else None, dw1, db1, dw2, db2, *dnorm


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _add(total: Tensor | None, term: Tensor) -> Tensor:
    """``total`` with one more term; None is a total of none yet."""
    return term if total is None else total.add_(term)


def _add_product(total: Tensor | None, g: Tensor, x: Tensor) -> Tensor:
    """``total`` with a part's share of a weight's gradient: rows g of the result's gradient, rows x
    of the input."""
    return g.t() @ x if total is None else total.addmm_(g.t(), x)


def _norm_backward(
    eps: float, g: Tensor, x: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    shape = x.shape[-1:]
    _, mean, rstd = torch.native_layer_norm(x, shape, weight, bias, eps)
    return torch.ops.aten.native_layer_norm_backward(
        g, x, shape, mean, rstd, weight, bias, [True] * 3
    )
