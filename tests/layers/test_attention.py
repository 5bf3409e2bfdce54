"""Attention against its formula, written out in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.parity import randomize
from vit_backbones.layers.attention import SelfAttention
from vit_backbones.layers.window_attention import WindowAttention

DIM, HEADS, GRID = 24, 3, (4, 5)
WIDTH = DIM // HEADS


def tokens(count: int) -> Tensor:
    return torch.randn(2, count, DIM, generator=torch.Generator().manual_seed(count)).double()


def written_out(attn: SelfAttention, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """concat_h(softmax(Q_h K_h^T / sqrt(d) + bias_h) V_h) W + b, one sample and head at a time."""
    joint_bias = attn.qkv.bias if attn.qkv.bias is not None else torch.zeros(3 * DIM).double()
    samples = []
    for sample in x:
        heads = []
        for h in range(HEADS):
            rows = slice(h * WIDTH, (h + 1) * WIDTH)
            q, k, v = (
                sample @ weight[rows].T + part[rows]
                for weight, part in zip(attn.qkv.weight.chunk(3), joint_bias.chunk(3))
            )
            q, k = attn.q_norm(q), attn.k_norm(k)
            logits = q @ k.T / math.sqrt(WIDTH) + (0 if bias is None else bias(q))
            weights = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
            heads.append(weights @ v)
        samples.append(torch.cat(heads, dim=1) @ attn.proj.weight.T + attn.proj.bias)
    return torch.stack(samples)


@pytest.mark.parametrize(
    "settings", [{}, dict(qkv_bias=False), dict(qk_norm=True)], ids=["plain", "no bias", "QK norm"]
)
def test_global_attention(settings: dict) -> None:
    attn = randomize(SelfAttention(DIM, HEADS, **settings)).double().eval()
    x = tokens(1 + 20)
    torch.testing.assert_close(attn(x, GRID), written_out(attn, x), rtol=1e-12, atol=1e-12)


def test_qk_norm_is_a_layer_norm_over_each_head() -> None:
    attn = randomize(SelfAttention(DIM, HEADS, qk_norm=True)).double()
    q, k, v = attn.project(tokens(20))
    joint = attn.qkv(tokens(20)).unflatten(-1, (3, HEADS, WIDTH))
    for out, plain, norm in ((q, joint[:, :, 0], attn.q_norm), (k, joint[:, :, 1], attn.k_norm)):
        plain = plain.transpose(1, 2)
        centred = plain - plain.mean(-1, keepdim=True)
        expected = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
        torch.testing.assert_close(out, expected * norm.weight + norm.bias)
    torch.testing.assert_close(v, joint[:, :, 2].transpose(1, 2))


def test_masked_key_bias_is_zero_and_stays_so() -> None:
    attn = randomize(SelfAttention(DIM, HEADS, key_bias=False)).double()
    x = tokens(20)
    out = attn(x, GRID)
    with torch.no_grad():
        attn.qkv.bias[DIM : 2 * DIM] += 1
    assert torch.equal(attn(x, GRID), out)
    out.square().sum().backward()
    q, k, v = attn.qkv.bias.grad.chunk(3)
    assert q.any() and v.any() and not k.any()


def test_files_of_dinov3_with_a_bias_mask_load() -> None:
    attn = SelfAttention(DIM, HEADS, key_bias=False)
    weights = randomize(SelfAttention(DIM, HEADS)).state_dict()
    weights["qkv.bias"][DIM : 2 * DIM] = torch.nan
    attn.load_state_dict({**weights, "qkv.bias_mask": torch.ones(3 * DIM)})
    assert attn(tokens(20).float(), GRID).isfinite().all()
    assert "qkv.bias_mask" not in attn.state_dict()


def test_dropout_of_weights_only_in_training() -> None:
    attn = randomize(SelfAttention(DIM, HEADS, attn_drop=0.5)).double()
    x = tokens(20)
    assert not torch.equal(attn.train()(x, GRID), attn(x, GRID))
    torch.testing.assert_close(attn.eval()(x, GRID), written_out(attn, x))


@pytest.mark.parametrize("grid", [(4, 6), (5, 4), (1, 7), (2, 2)], ids=str)
@pytest.mark.parametrize("position", [True, False], ids=["relative position", "no position"])
def test_windows_are_attention_within_each_window(grid: tuple[int, int], position: bool) -> None:
    """Zeros after the norm pad the map, and take part (ViTDet's code)."""
    size = 3
    rel_pos_grid = grid if position else None
    attn = randomize(WindowAttention(DIM, HEADS, size, rel_pos_grid=rel_pos_grid)).double().eval()
    x = tokens(grid[0] * grid[1])

    def bias(q: Tensor) -> Tensor:
        """q . Rh[row distance] + q . Rw[column distance], for each pair of the window's cells."""
        out = q.new_zeros(size**2, size**2)
        for i in range(size**2):
            for j in range(size**2):
                rows, columns = i // size - j // size, i % size - j % size
                out[i, j] = q[i] @ attn.rel_pos_h[rows + 2] + q[i] @ attn.rel_pos_w[columns + 2]
        return out

    height, width = (-(-side // size) * size for side in grid)
    padded = F.pad(x.unflatten(1, grid), (0, 0, 0, width - grid[1], 0, height - grid[0]))
    expected = torch.empty_like(padded)
    for top in range(0, height, size):
        for left in range(0, width, size):
            cell = (slice(None), slice(top, top + size), slice(left, left + size))
            window = written_out(attn, padded[cell].flatten(1, 2), bias if position else None)
            expected[cell] = window.unflatten(1, (size, size))
    expected = expected[:, : grid[0], : grid[1]].flatten(1, 2)
    torch.testing.assert_close(attn(x, grid), expected, rtol=1e-12, atol=1e-12)
