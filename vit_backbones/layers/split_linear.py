"""A linear layer whose output comes in parts."""

from __future__ import annotations

from torch import Tensor

from .linear import Linear, linear


class SplitLinear(Linear):
    """One weight, as nn.Linear's, but ``parts`` products: x (..., in) -> ``parts`` tensors
    (..., out / parts), each contiguous.

    Parts of a single product are strided views, which what follows may have to copy.

    Args:
        in_features, out_features, bias: As nn.Linear's.
        parts: Number of parts; ``out_features`` divides by it.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, parts: int = 3
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self.parts = parts

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        weights = self.weight.chunk(self.parts)
        biases = (None,) * self.parts if self.bias is None else self.bias.chunk(self.parts)
        return tuple(linear(x, weight, bias) for weight, bias in zip(weights, biases))
