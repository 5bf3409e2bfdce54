"""A linear layer's output in parts."""

from __future__ import annotations

from torch import Tensor, nn

from .linear import is_plain, linear


def split_linear(layer: nn.Module, x: Tensor, parts: int) -> tuple[Tensor, ...]:
    """``layer(x).chunk(parts, dim=-1)``: (..., in) -> ``parts`` tensors (..., out / parts).

    Of a linear layer by ``parts`` products, each contiguous: parts of a single product are strided
    views, which what follows may have to copy.
    """
    if not is_plain(layer):
        return layer(x).chunk(parts, dim=-1)
    weights = layer.weight.chunk(parts)
    biases = (None,) * parts if layer.bias is None else layer.bias.chunk(parts)
    return tuple(linear(x, weight, bias) for weight, bias in zip(weights, biases))
