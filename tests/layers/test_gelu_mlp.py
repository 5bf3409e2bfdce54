"""The MLP with a written-out gradient, against autograd's on the definition."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.parity import randomize, relative_error
from vit_backbones.layers import chunks
from vit_backbones.layers.mlp import Mlp, QuickGELU, norm_then_mlp


class Pair(nn.Module):
    """An MLP and the norm before it."""

    def __init__(self, **settings) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6, eps=1e-3)
        self.mlp = Mlp(6, 10, out_dim=5, **settings)

    def ours(self, x, norm=True):
        return norm_then_mlp(x, self.norm, self.mlp) if norm else self.mlp(x)

    def definition(self, x, norm=True):
        return self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm(x) if norm else x)))


@pytest.fixture
def pair():
    return randomize(Pair())


@pytest.fixture
def x():
    return torch.randn(3, 7, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()


@pytest.fixture(params=[chunks.FLOATS, 50, 1], ids=["one part", "some rows", "row by row"])
def parts(request, monkeypatch):
    monkeypatch.setattr(chunks, "FLOATS", request.param)
    monkeypatch.setattr(chunks, "MLP_ROWS", 1)


@pytest.mark.parametrize("norm", [True, False], ids=["norm", "no norm"])
def test_result_and_gradients(pair, x, norm, parts):
    ours, theirs = pair.ours(x, norm), pair.definition(x, norm)
    assert relative_error(ours, theirs) < 1e-6
    with torch.no_grad():
        assert relative_error(pair.ours(x, norm), theirs) < 1e-6
    inputs = [x, *pair.mlp.parameters(), *(pair.norm.parameters() if norm else ())]
    direction = torch.randn(ours.shape)
    for a, b in zip(*(torch.autograd.grad(y, inputs, direction) for y in (ours, theirs))):
        assert relative_error(a, b) < 1e-5


def test_only_what_is_wanted_gets_a_gradient(pair, x):
    everything = dict(pair.named_parameters())
    for wanted in ("mlp.fc1.weight", "mlp.fc2.bias", "norm.weight", "x"):
        for name, parameter in everything.items():
            parameter.requires_grad_(name == wanted)
        inputs = x.detach().requires_grad_(wanted == "x")
        leaf = inputs if wanted == "x" else everything[wanted]
        ours, theirs = (
            torch.autograd.grad(function(inputs).square().sum(), leaf)[0]
            for function in (pair.ours, pair.definition)
        )
        assert relative_error(ours, theirs) < 1e-5, wanted


@pytest.mark.parametrize("norm", [True, False], ids=["norm", "no norm"])
def test_second_derivatives(pair, x, norm, parts):
    inputs = [x, *pair.mlp.parameters(), *(pair.norm.parameters() if norm else ())]
    results = []
    for function in (pair.ours, pair.definition):
        slope = torch.autograd.grad(function(x, norm).pow(3).sum(), inputs, create_graph=True)
        results.append(torch.autograd.grad(sum(s.pow(2).sum() for s in slope), inputs))
    for a, b in zip(*results):
        assert relative_error(a, b) < 1e-5


def test_half_as_much_is_kept_for_the_gradient(pair, x):
    def kept(function) -> int:
        storages = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: storages.setdefault(t.untyped_storage().data_ptr(), t), lambda t: t
        ):
            function(x)
        own = {p.untyped_storage().data_ptr() for p in (x, *pair.parameters())}
        return sum(t.numel() for key, t in storages.items() if key not in own)

    assert kept(pair.ours) == 21 * 10  # the hidden layer alone
    assert kept(pair.definition) > 2 * 21 * 10


def test_other_layers_are_called_themselves(pair, x):
    """A hook, an adapter, dropout or another activation: the layers run one by one."""
    seen = []
    handle = pair.mlp.fc1.register_forward_hook(lambda *args: seen.append(args[2]))
    pair.ours(x)
    assert seen[0].shape == (3, 7, 10)
    handle.remove()

    nn.utils.parametrize.register_parametrization(pair.mlp.fc2, "weight", Doubled())
    assert relative_error(pair.ours(x), pair.definition(x)) < 1e-6

    quick = randomize(Mlp(6, 10, QuickGELU))
    assert relative_error(quick(x), quick.fc2(quick.act(quick.fc1(x)))) < 1e-6
    dropping = Pair(drop=0.5)
    assert not torch.equal(dropping.ours(x), dropping.ours(x))
    plain = nn.LayerNorm(6, elementwise_affine=False)
    assert relative_error(norm_then_mlp(x, plain, pair.mlp), pair.mlp(plain(x))) < 1e-6


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def test_other_precisions_keep_theirs(pair, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert pair.ours(x).dtype == torch.bfloat16
    assert pair.double().ours(x.double()).dtype == torch.float64


def test_transforms_and_graphs(pair, x):
    pair.eval()
    each = torch.func.vmap(lambda x: pair.ours(x))(x)
    assert relative_error(each, pair.definition(x)) < 1e-6
    slope = torch.func.grad(lambda x: pair.ours(x).square().sum())(x)
    (expected,) = torch.autograd.grad(pair.definition(x).square().sum(), x)
    assert relative_error(slope, expected) < 1e-5
    compiled = torch.compile(pair.ours, fullgraph=True, backend="eager")
    assert relative_error(compiled(x), pair.definition(x)) < 1e-6


def test_no_rows_give_no_rows(pair):
    assert pair.ours(torch.randn(0, 7, 6)).shape == (0, 7, 5)
