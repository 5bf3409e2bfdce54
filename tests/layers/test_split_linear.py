"""The parts of a linear layer against a single product that is cut afterwards."""

from __future__ import annotations

import pytest
import torch

from vit_backbones.layers.linear import Linear
from vit_backbones.layers.split_linear import split_linear


@pytest.mark.parametrize("bias", [True, False])
def test_parts_are_those_of_the_single_product(bias: bool) -> None:
    torch.manual_seed(0)
    single = torch.nn.Linear(6, 12, bias=bias).double()
    layer = Linear(6, 12, bias=bias).double()
    layer.load_state_dict(single.state_dict())
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    outputs, expected = split_linear(layer, x, 3), single(x).chunk(3, dim=-1)
    for ours, reference in zip(outputs, expected, strict=True):
        assert ours.is_contiguous()
        torch.testing.assert_close(ours, reference)

    weights = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    for parts in (outputs, expected):
        sum((part * w).sum() for part, w in zip(parts, weights, strict=True)).backward()
    for name, reference in single.named_parameters():
        torch.testing.assert_close(layer.get_parameter(name).grad, reference.grad)


def test_a_hook_sees_the_whole_output() -> None:
    layer, x = Linear(6, 12), torch.randn(2, 5, 6)
    expected = split_linear(layer, x, 3)
    layer.register_forward_hook(lambda module, inputs, output: output + 1)
    for part, reference in zip(split_linear(layer, x, 3), expected, strict=True):
        torch.testing.assert_close(part, reference + 1)
