"""Working through many rows a part at a time, so that what lies between stays in the cache."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .linear import has_hooks, runs_eagerly_on_cpu

# Widest intermediate of a part, in float32: 8 MiB. Larger tensors leave the cache, and those of
# more than 32 MiB are new pages from the system at each call, which costs as much as the products.
FLOATS = 2**21

# Fewest rows of a part of an MLP, even where they take more than that: each part reads all weights.
MLP_ROWS = 2**10


def split_rows(x: Tensor, width: int) -> tuple[Tensor, ...]:
    """Views of a tensor (n, ...), row after row, as few and as equal as intermediates of ``width``
    numbers per row allow."""
    return _split(x, width, FLOATS)


def split_mlp_rows(x: Tensor, hidden_dim: int, training: bool = False) -> tuple[Tensor, ...]:
    """The same for an MLP with a hidden layer of that width, in parts of :data:`MLP_ROWS` at least;
    in training half as many, since each adds to the weights' gradients."""
    return _split(x, hidden_dim, max(2 * FLOATS if training else FLOATS, MLP_ROWS * hidden_dim))


def _split(x: Tensor, width: int, floats: int) -> tuple[Tensor, ...]:
    parts = max(1, -(-x.shape[0] * width // floats))
    return x.split(max(1, -(-x.shape[0] // parts)))


def computes_in_parts(x: Tensor, *modules: nn.Module) -> bool:
    """Whether what ``modules`` do to x may be done part by part, from their parameters: where that
    is faster (:func:`runs_eagerly_on_cpu`), and no hook watches or changes what lies between."""
    return (
        runs_eagerly_on_cpu(x)
        and all(p.dtype == x.dtype for module in modules for p in module.parameters())
        and not any(has_hooks(m) for module in modules for m in module.modules())
    )


def records_gradients(*tensors: Tensor | None) -> bool:
    """Whether autograd follows what is computed from these."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def gradients(function, inputs: tuple, needed: tuple[bool, ...], gradient: Tensor) -> tuple:
    """The gradients of ``function(*inputs)`` by autograd, differentiable themselves: what a
    written-out backward pass gives where a second derivative is wanted."""
    with torch.enable_grad():
        # views: an input that was computed from another shall not lead back to it
        inputs = tuple(None if x is None else x.view_as(x) for x in inputs)
        wanted = [x for x, need in zip(inputs, needed) if need]
        found = torch.autograd.grad(function(*inputs), wanted, gradient, create_graph=True)
    found = iter(found)
    return tuple(next(found) if need else None for need in needed)
