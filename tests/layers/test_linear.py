"""Linear: F.linear's results wherever it is called, whichever library computes them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from tests.parity import relative_error
from vit_backbones.layers import linear as module
from vit_backbones.layers.linear import Linear, linear, linear_gelu

SHAPES = [(5,), (3, 5), (2, 3, 5), (2, 4, 3, 5)]


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture(params=[True, False], ids=["oneDNN", "MKL"], autouse=True)
def onednn(request, monkeypatch):
    """Every test with either library, whatever this machine's processor prefers."""
    monkeypatch.setattr(module, "PREFERS_ONEDNN", request.param)
    monkeypatch.setattr(module, "FUSES_GELU", True)
    return request.param


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_result_and_gradients_are_those_of_f_linear(shape, bias):
    x = draw(*shape).requires_grad_()
    weight, offset = draw(7, 5).requires_grad_(), draw(7).requires_grad_() if bias else None
    parameters = [p for p in (x, weight, offset) if p is not None]
    ours, theirs = linear(x, weight, offset), F.linear(x, weight, offset)
    assert relative_error(ours, theirs) < 1e-6
    direction = draw(*ours.shape)
    for a, b in zip(*(torch.autograd.grad(y, parameters, direction) for y in (ours, theirs))):
        assert relative_error(a, b) < 1e-6


def test_the_faster_library_is_taken(onednn):
    names = []

    class Record(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(str(func))
            return func(*args, **(kwargs or {}))

    with Record(), torch.no_grad():
        Linear(5, 7)(draw(3, 5))
    assert ("mkldnn._linear_pointwise.default" in names) == onednn
    names.clear()
    with Record():
        Linear(5, 7)(draw(3, 5)).sum().backward()
    assert ("mkldnn._linear_pointwise.default" in names) == onednn
    names.clear()
    x, weight, bias = draw(3, 5), draw(7, 5), draw(7)
    with Record(), torch.no_grad():
        linear_gelu(x, weight, bias)
    assert names == ["mkldnn._linear_pointwise.default"]


def test_gelu_on_top():
    x, weight, bias = draw(3, 5), draw(7, 5), draw(7)
    expected = F.gelu(F.linear(x, weight, bias))
    with torch.no_grad():
        assert relative_error(linear_gelu(x, weight, bias), expected) < 1e-6


@pytest.mark.parametrize(
    "vendor, expected", [("GenuineIntel", True), ("AuthenticAMD", False), (None, False)]
)
def test_processors_of_intel_keep_mkl(tmp_path, vendor, expected):
    info = tmp_path / "cpuinfo"
    if vendor:
        info.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n")
    assert module.made_by_intel(info) is expected


def test_views_that_are_not_contiguous_give_the_same():
    x, weight = draw(5, 4, 3).permute(2, 1, 0), draw(5, 7).t()
    assert relative_error(linear(x, weight, None), F.linear(x, weight)) < 1e-6


def test_second_derivatives_are_those_of_f_linear():
    results = []
    for function in (linear, F.linear):
        x, weight = draw(3, 5).requires_grad_(), draw(7, 5).requires_grad_()
        loss = function(x, weight, None).pow(3).sum()
        slope = torch.autograd.grad(loss, (x, weight), create_graph=True)
        results.append(torch.autograd.grad(sum(s.pow(2).sum() for s in slope), (x, weight)))
    for a, b in zip(*results):
        assert relative_error(a, b) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_other_precisions_keep_theirs(dtype):
    layer = Linear(5, 7).to(dtype)
    assert layer(draw(3, 5).to(dtype)).dtype == dtype


def test_autocast_reaches_it():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Linear(5, 7)(draw(3, 5)).dtype == torch.bfloat16


def test_no_rows_give_no_rows():
    layer = Linear(5, 7)
    assert layer(draw(0, 5)).shape == (0, 7)
    layer(draw(0, 5)).sum().backward()
    assert not layer.weight.grad.any()


def test_a_wrong_width_is_refused():
    with pytest.raises(RuntimeError):
        Linear(5, 7)(draw(3, 4))


def test_torch_func_goes_through():
    layer, x = Linear(5, 7), draw(4, 3, 5)
    assert relative_error(torch.func.vmap(layer)(x), layer(x)) < 1e-6
    loss = torch.func.grad(lambda x: layer(x).pow(2).sum())
    assert relative_error(loss(x), 2 * layer(x) @ layer.weight) < 1e-6


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_it_is_one_operator(onednn, backend):
    """Which inductor takes as it is; sizes may vary."""
    torch.compiler.reset()
    layer = Linear(5, 7)
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    for rows in (3, 4, 6):
        x = draw(2, rows, 5).requires_grad_()
        inputs = (x, layer.weight, layer.bias)
        for calls in (compiled, layer):
            with torch.profiler.profile() as profile:
                y = calls(x)
                grads = torch.autograd.grad(y.pow(2).sum(), inputs)
            if calls is compiled:
                ours = y, *grads
                names = {event.key for event in profile.key_averages()}
                assert ("vit_backbones::linear" in names) == onednn
        for a, b in zip(ours, (y, *grads)):
            assert relative_error(a, b) < 1e-6


def test_compiled_gelu_is_part_of_it(onednn):
    torch.compiler.reset()
    x, weight, bias = draw(3, 5), draw(7, 5), draw(7)
    graphs = []

    def keep(module, inputs):
        graphs.append(str(module.graph))
        return module

    with torch.no_grad():
        ours = torch.compile(linear_gelu, backend=keep, fullgraph=True)(x, weight, bias)
    assert relative_error(ours, F.gelu(F.linear(x, weight, bias))) < 1e-6
    assert ("_nn.gelu" not in graphs[0]) == onednn


@pytest.mark.parametrize(
    "transformed",
    [
        lambda f, x: torch.func.vmap(f)(x),
        lambda f, x: torch.func.grad(lambda x: f(x).pow(2).sum())(x),
        lambda f, x: torch.func.jvp(f, (x,), (x,))[1],
    ],
    ids=["vmap", "grad", "jvp"],
)
def test_compiled_torch_func_goes_through(transformed):
    torch.compiler.reset()
    layer, x = Linear(5, 7), draw(4, 3, 5)
    compiled = torch.compile(lambda x: transformed(layer, x), backend="aot_eager", fullgraph=True)
    expected = transformed(lambda x: F.linear(x, layer.weight, layer.bias), x)
    assert relative_error(compiled(x), expected) < 1e-6


def test_compiled_autocast_and_no_rows():
    torch.compiler.reset()
    layer = Linear(5, 7)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert compiled(draw(3, 5)).dtype == torch.bfloat16
    assert compiled(draw(0, 5)).shape == (0, 7)


def test_flops_are_counted_and_a_trace_is_plain():
    layer, x = Linear(5, 7), draw(4, 3, 5)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(x)
    assert counter.get_total_flops() == 2 * 12 * 5 * 7
    with FlopCounterMode(display=False) as counter:
        layer(x).sum().backward()
    assert counter.get_total_flops() == 2 * 2 * 12 * 5 * 7  # x wants no gradient
    assert "mkldnn" not in str(torch.jit.trace(layer, x).inlined_graph)
    exported = str(torch.export.export(layer, (x,)).graph)
    assert "mkldnn" not in exported and "vit_backbones" not in exported
