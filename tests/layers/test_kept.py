"""Tensors that are kept from call to call."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from vit_backbones.layers.kept import kept


def test_equal_arguments_are_computed_once() -> None:
    calls = []
    count = kept(2)(lambda n: calls.append(n) or torch.arange(n))
    with torch.inference_mode():
        first = count(3)
    assert count(3) is first and not first.is_inference()
    count(4), count(5), count(3)  # of three, two are kept
    assert calls == [3, 4, 5, 3]


def test_fake_and_functional_tensors_are_not_kept() -> None:
    count = kept(2)(torch.arange)
    with FakeTensorMode():
        assert type(count(3)) is not Tensor
    assert type(count(3)) is Tensor
    torch.func.functionalize(lambda x: x + count(4))(torch.ones(4))
    assert not torch._is_functional_tensor(count(4))
