"""Decomposed relative position against the N x N bias, written out in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vit_backbones.layers.relative import fold_decomposed_bias, relative_table, resize_table

D, HEADS = 6, 2
# (queries' grid, keys' grid); MViTv2 pools them differently
GRIDS = [((4, 4), (4, 4)), ((3, 5), (3, 5)), ((1, 6), (1, 6)), ((4, 6), (2, 3)), ((2, 2), (8, 4))]


def random(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)


def written_out(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_h: Tensor,
    rel_w: Tensor,
    q_grid: tuple[int, int],
    k_grid: tuple[int, int],
    prefix: int,
) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v, the bias of each pair from the two tables.

    Along an axis with Q queries and K keys, positions are counted in cells of the finer of the two,
    and the largest distance comes first or last in the table.
    """
    bias = q.new_zeros(*q.shape[:2], q.shape[2], k.shape[2])
    for i in range(q_grid[0] * q_grid[1]):
        for j in range(k_grid[0] * k_grid[1]):
            for axis, table in ((0, rel_h), (1, rel_w)):
                Q, K = q_grid[axis], k_grid[axis]
                qi, kj = (
                    (i // q_grid[1], j // k_grid[1])
                    if axis == 0
                    else (
                        i % q_grid[1],
                        j % k_grid[1],
                    )
                )
                q_cell, k_cell = max(K // Q, 1), max(Q // K, 1)
                distance = qi * q_cell - kj * k_cell
                row = table[distance + (K - 1) * k_cell]
                bias[:, :, prefix + i, prefix + j] += q[:, :, prefix + i] @ row
    logits = q @ k.transpose(-1, -2) / D**0.5 + bias
    return logits.softmax(-1) @ v


@pytest.mark.parametrize("prefix", [0, 1], ids=["patches", "class token"])
@pytest.mark.parametrize(("q_grid", "k_grid"), GRIDS, ids=str)
def test_folded_bias_is_the_written_out_bias(q_grid: tuple, k_grid: tuple, prefix: int) -> None:
    q = random(2, HEADS, prefix + q_grid[0] * q_grid[1], D)
    k = random(2, HEADS, prefix + k_grid[0] * k_grid[1], D)
    v = random(2, HEADS, k.shape[2], D)
    tables = [random(2 * max(a, b) - 1, D) for a, b in zip(q_grid, k_grid)]
    inputs = [q, k, v, *tables]

    expected = written_out(*inputs, q_grid, k_grid, prefix)
    folded = fold_decomposed_bias(*inputs, q_grid, k_grid, D**-0.5)
    out = F.scaled_dot_product_attention(*folded, scale=1.0)[..., :D]
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    assert all(t.shape[-1] % 8 == 0 for t in folded)  # what kernels on GPUs want

    weight = torch.randn(out.shape, dtype=torch.float64)
    for ours, reference in zip(
        torch.autograd.grad((out * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
    ):
        torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-12)


def test_a_table_of_another_size_is_resized_linearly() -> None:
    table = torch.tensor([[0.0], [1.0], [4.0]])
    # centres of 6 cells at (i + 0.5) * 3 / 6 - 0.5 = -0.25, 0.25, ..., clamped to the ends
    expected = torch.tensor([[0.0], [0.25], [0.75], [1.75], [3.25], [4.0]])
    torch.testing.assert_close(resize_table(table, 6), expected)
    assert relative_table(random(5, D), 4, 4).shape == (4, 4, D)


def test_the_meta_device_has_the_definitions_width() -> None:
    """FLOPs are counted there (complexity.py), and the definition has no wider heads."""
    q, k, v = torch.empty(3, 1, HEADS, 16, D, device="meta")
    table = torch.empty(7, D, device="meta")
    for out in fold_decomposed_bias(q, k, v, table, table, (4, 4), (4, 4), 0.5):
        assert out.shape == (1, HEADS, 16, D)
