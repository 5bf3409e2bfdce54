"""Attention in chunks against one scaled_dot_product_attention with the bias folded in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from vit_backbones.layers import decomposed_attention
from vit_backbones.layers.decomposed_attention import attend_with_decomposed_bias
from vit_backbones.layers.relative import fold_decomposed_bias

D = 6
# samples, heads, queries' grid, keys' grid
SHAPES = [(2, 2, (4, 4), (4, 4)), (1, 3, (3, 7), (6, 14)), (2, 1, (8, 6), (2, 3))]
# all scores at once; a head at a time; some queries at a time, with a smaller last chunk
SCORES = [2**18, 60, 30]


def random_inputs(B: int, heads: int, q_grid: tuple, k_grid: tuple) -> list[Tensor]:
    """q, k, v as the projection leaves them, heads inside of tokens, and the two tables."""
    generator = torch.Generator().manual_seed(0)

    def tokens(grid: tuple[int, int]) -> Tensor:
        shape = B, grid[0] * grid[1], heads, D
        return torch.randn(shape, generator=generator, dtype=torch.float64).transpose(1, 2)

    inputs = [tokens(q_grid), tokens(k_grid), tokens(k_grid)]
    for a, b in zip(q_grid, k_grid):
        length = 2 * max(a, b) - 1
        inputs.append(torch.randn(length, D, generator=generator, dtype=torch.float64))
    return [t.requires_grad_() for t in inputs]


def folded(inputs: list[Tensor], q_grid: tuple, k_grid: tuple) -> Tensor:
    q, k, v = fold_decomposed_bias(*inputs, q_grid, k_grid, D**-0.5)
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :D]


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_folded_bias(shape: tuple, scores: int, monkeypatch) -> None:
    monkeypatch.setattr(decomposed_attention, "_SCORES", scores)
    monkeypatch.setattr(decomposed_attention, "_MIN_ROWS", 5)
    inputs, grids = random_inputs(*shape), shape[2:]
    expected = folded(inputs, *grids)
    out = attend_with_decomposed_bias(*inputs, *grids, D**-0.5)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(attend_with_decomposed_bias(*inputs, *grids, D**-0.5), out)

    weight = torch.randn_like(expected)
    for ours, reference in zip(
        torch.autograd.grad(out, inputs, weight), torch.autograd.grad(expected, inputs, weight)
    ):
        torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    inputs, grids = random_inputs(1, 2, (2, 3), (2, 3)), ((2, 3), (2, 3))
    assert torch.autograd.gradcheck(
        lambda *tensors: attend_with_decomposed_bias(*tensors, *grids, D**-0.5), inputs
    )


@pytest.mark.parametrize("scores", SCORES)
def test_second_derivatives(scores: int, monkeypatch) -> None:
    monkeypatch.setattr(decomposed_attention, "_SCORES", scores)
    monkeypatch.setattr(decomposed_attention, "_MIN_ROWS", 5)
    shape = SHAPES[0]
    inputs, grids = random_inputs(*shape), shape[2:]
    results = []
    with sdpa_kernel(SDPBackend.MATH):
        for out in (
            attend_with_decomposed_bias(*inputs, *grids, D**-0.5),
            folded(inputs, *grids),
        ):
            slopes = torch.autograd.grad(out.pow(3).sum(), inputs, create_graph=True)
            results.append(torch.autograd.grad(sum(s.pow(2).sum() for s in slopes), inputs))
    for ours, reference in zip(*results):
        torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-9)


def chunked(out: Tensor) -> bool:
    return "_ChunkedAttention" in str(out.grad_fn)


def test_takes_chunks_on_the_cpu_only_where_it_can(monkeypatch) -> None:
    shape = SHAPES[0]
    inputs, grids = random_inputs(*shape), (*shape[2:], D**-0.5)
    assert chunked(attend_with_decomposed_bias(*inputs, *grids))
    with torch.autocast("cpu", torch.bfloat16):
        assert not chunked(attend_with_decomposed_bias(*inputs, *grids))
    halves = [t.bfloat16() for t in inputs]
    assert not chunked(attend_with_decomposed_bias(*halves, *grids))
    with_class_token = [F.pad(t, (0, 0, 1, 0)) for t in inputs[:3]] + inputs[3:]
    assert not chunked(attend_with_decomposed_bias(*with_class_token, *grids))


def test_functional_transforms_and_tracing() -> None:
    shape = SHAPES[0]
    inputs, grids = random_inputs(*shape), (*shape[2:], D**-0.5)
    inputs = [t.detach() for t in inputs]
    expected = attend_with_decomposed_bias(*inputs, *grids)

    def run(q: Tensor) -> Tensor:
        return attend_with_decomposed_bias(q, *inputs[1:], *grids)

    ours = torch.func.vmap(run)(inputs[0][None])[0]
    torch.testing.assert_close(ours, expected)
    assert torch.func.grad(lambda q: run(q).sum())(inputs[0]).shape == inputs[0].shape
    compiled = torch.compile(run, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(inputs[0]), expected)
    names = {node.target for node in torch.export.export(Module(run), (inputs[0],)).graph.nodes}
    assert torch.ops.aten.scaled_dot_product_attention.default in names


class Module(torch.nn.Module):
    def __init__(self, run) -> None:
        super().__init__()
        self.run = run

    def forward(self, q: Tensor) -> Tensor:
        return self.run(q)


def test_holds_no_scores_for_the_gradient() -> None:
    """What is saved grows with the tokens: less than a byte for each pair of them."""
    inputs, grid = random_inputs(1, 1, (40, 40), (40, 40)), (40, 40)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        out = attend_with_decomposed_bias(*inputs, grid, grid, D**-0.5)
    assert chunked(out)
    assert sum(t.nbytes for t in saved) < 1600**2
