"""Stochastic depth and patch dropping."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vit_backbones.layers.drop import DropPath, PatchDrop, add_branch, drop_path_rates


def test_drop_path_drops_whole_samples_and_keeps_the_expectation() -> None:
    torch.manual_seed(0)
    x = torch.ones(20000, 2, 3)
    out = DropPath(0.3).train()(x)
    kept = out[:, 0, 0] != 0
    assert torch.equal(out, torch.where(kept[:, None, None], 1 / 0.7, 0.0).expand_as(x))
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.01)
    assert out.mean().item() == pytest.approx(1, abs=0.02)


def test_drop_path_is_the_identity_in_evaluation_and_at_rate_zero() -> None:
    x = torch.randn(8, 4)
    assert DropPath(0.9).eval()(x) is x
    assert DropPath(0.0).train()(x) is x


def test_drop_path_computes_only_what_it_keeps() -> None:
    """x + branch(x) / (1 - rate) for those kept, x for others, and so the gradients."""
    torch.manual_seed(0)
    drop, weight = DropPath(0.4).train(), torch.tensor(2.0, requires_grad=True)
    sizes = []
    for _ in range(500):
        x = torch.rand(8, 3, requires_grad=True)
        rows = []
        out = add_branch(x, lambda x, rows=rows: rows.append(len(x)) or weight * x.square(), drop)
        kept = (out != x).all(1)
        factor = kept[:, None] / 0.6
        torch.testing.assert_close(out, x + factor * 2 * x.square())
        dx, dweight = torch.autograd.grad(out.sum(), (x, weight))
        torch.testing.assert_close(dx, 1 + factor * 4 * x)
        torch.testing.assert_close(dweight, (factor * x.square()).sum())
        assert rows == [max(1, kept.sum())]
        sizes.append(kept.sum().item())
    assert sum(sizes) / 4000 == pytest.approx(0.6, abs=0.03)
    assert len(set(sizes)) > 4  # each sample for itself


def test_drop_path_keeps_the_graph_where_all_are_dropped() -> None:
    """Distributed training wants a gradient for each parameter."""
    torch.manual_seed(0)
    weight = torch.tensor(2.0, requires_grad=True)
    x = torch.ones(2, 3)
    out = add_branch(x, lambda x: weight * x, DropPath(1 - 1e-9).train())
    assert torch.equal(out, x)
    out.sum().backward()
    assert weight.grad == 0


@pytest.mark.parametrize(
    "drop", [DropPath(0.0).train(), DropPath(0.9).eval(), nn.Identity()], ids=["0", "eval", "none"]
)
def test_drop_path_adds_all_otherwise(drop: DropPath) -> None:
    assert torch.equal(add_branch(torch.ones(3, 2), lambda x: 2 * x, drop), torch.full((3, 2), 3.0))


def test_hooks_on_drop_path_fire() -> None:
    drop, seen = DropPath(0.5).train(), []
    drop.register_forward_hook(lambda module, inputs, output: seen.append(output))
    out = add_branch(torch.ones(4, 2), lambda x: 2 * x, drop)
    assert torch.equal(out, 1 + seen[0])


def test_drop_path_compiles_into_one_graph() -> None:
    drop = DropPath(0.5).train()
    add = torch.compile(
        lambda x: add_branch(x, torch.square, drop), fullgraph=True, backend="eager"
    )
    out = add(torch.full((1000, 1), 2.0))
    assert set(out.unique().tolist()) == {2.0, 10.0}


def test_rates_grow_linearly_from_zero() -> None:
    assert drop_path_rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert drop_path_rates(0.3, 1) == [0]
    assert drop_path_rates(0.3, 2, uniform=True) == [0.3, 0.3]


@pytest.mark.parametrize(
    ("rate", "count", "kept"), [(0.5, 16, 8), (0.75, 196, 49), (0.9, 100, 10), (0.99, 5, 1)]
)
def test_patch_drop_keeps_the_asked_share(rate: float, count: int, kept: int) -> None:
    x = torch.arange(count).float().expand(6, -1)[..., None].repeat(1, 1, 2)
    out, indices = PatchDrop(rate).train()(x)
    assert out.shape == (6, kept, 2)
    assert torch.equal(out[..., 0].long(), indices)
    assert (indices.diff(dim=1) > 0).all()  # in order, none twice


def test_patch_drop_is_random_uniform_and_per_sample() -> None:
    torch.manual_seed(0)
    _, indices = PatchDrop(0.5).train()(torch.zeros(4000, 8, 1))
    assert (indices[0] != indices[1:]).any()
    shares = torch.bincount(indices.flatten(), minlength=8) / 4000
    assert shares.tolist() == pytest.approx([0.5] * 8, abs=0.04)


def test_patch_drop_keeps_all_in_evaluation() -> None:
    x = torch.randn(2, 8, 4)
    out, indices = PatchDrop(0.5).eval()(x)
    assert out is x and indices is None


@pytest.mark.parametrize("layer", [DropPath, PatchDrop])
@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_rates_out_of_range(layer: type, rate: float) -> None:
    with pytest.raises(ValueError, match=f"at least 0 and less than 1, not {rate}"):
        layer(rate)
