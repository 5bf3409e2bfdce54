"""Attention with a bias that is learned, against its formula in float64."""

from __future__ import annotations

import pytest
import torch

from tests.parity import relative_error
from vit_backbones.layers import biased_attention as module
from vit_backbones.layers.biased_attention import biased_attention

SCALE = 0.3


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def definition(qkv, bias, mask):
    q, k, v = qkv.double()
    logits = SCALE * q @ k.mT + bias.double()
    if mask is not None:
        logits = logits + mask.double().repeat(q.shape[0] // mask.shape[0], 1, 1, 1)
    return logits.softmax(-1) @ v


@pytest.fixture(params=[module.LOGITS, 60, 1], ids=["one part", "some windows", "window by window"])
def parts(request, monkeypatch):
    monkeypatch.setattr(module, "LOGITS", request.param)


@pytest.fixture(params=[None, 1, 3, 6], ids=lambda n: f"{n} masks")
def mask(request):
    if request.param is None:
        return None
    return torch.where(draw(request.param, 1, 5, 5) > 0, 0.0, -100.0)


@pytest.fixture
def qkv():
    """As linear layers give it: (windows, slots, 3, heads, head_dim) in memory."""
    return draw(6, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)


@pytest.fixture
def bias():
    return draw(2, 5, 5)


@pytest.mark.parametrize("layout", ["as projected", "contiguous", "three"])
def test_result_and_gradients(qkv, bias, mask, parts, layout):
    qkv = qkv.contiguous() if layout == "contiguous" else qkv
    inputs = [qkv.detach().requires_grad_(), bias.requires_grad_()]
    given = tuple(inputs[0]) if layout == "three" else inputs[0]
    ours = biased_attention(given, bias, mask, SCALE)
    theirs = definition(*inputs, mask)
    assert relative_error(ours, theirs) < 1e-5
    direction = draw(*ours.shape)
    for a, b in zip(*(torch.autograd.grad(y, inputs, direction.to(y)) for y in (ours, theirs))):
        assert relative_error(a, b) < 1e-5


def test_result_without_gradients(qkv, bias, mask):
    assert relative_error(biased_attention(qkv, bias, mask, SCALE), definition(qkv, bias, mask)) < (
        1e-5
    )


def test_second_derivatives(qkv, bias, mask, parts):
    inputs = [qkv.detach().requires_grad_(), bias.requires_grad_()]
    results = []
    for y in (biased_attention(*inputs, mask, SCALE), definition(*inputs, mask)):
        slope = torch.autograd.grad(y.pow(3).sum(), inputs, create_graph=True)
        results.append(torch.autograd.grad(sum(s.pow(2).sum() for s in slope), inputs))
    for a, b in zip(*results):
        assert relative_error(a, b) < 1e-4


def test_dropout(qkv, bias):
    ones = torch.stack([qkv[0], qkv[1], torch.ones_like(qkv[2])])
    out = biased_attention(ones, bias.requires_grad_(), None, SCALE, dropout=0.5)
    assert (out != 1).any() and (out >= 0).all()


def test_double_precision_with_gradients(qkv, bias, mask):
    bias = bias.double().requires_grad_()
    out = biased_attention(qkv.double(), bias, None if mask is None else mask.double(), SCALE)
    torch.testing.assert_close(out, definition(qkv, bias, mask))
