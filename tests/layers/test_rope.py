"""2-D rotary position against rotation matrices, written out in float64."""

from __future__ import annotations

import math

import pytest
import torch

from vit_backbones.layers.rope import RotaryEmbedding2D, apply_rotary

D, BASE = 8, 100.0


def rotation(row: float, column: float) -> torch.Tensor:
    """DINOv3's: channel i turns with channel i + D/2, the first half of the angles by the row."""
    matrix = torch.eye(D, dtype=torch.float64)
    for i in range(D // 2):
        position = row if i < D // 4 else column
        angle = 2 * math.pi * position / BASE ** (2 * (i % (D // 4)) / (D / 2))
        j = i + D // 2
        matrix[i, i] = matrix[j, j] = math.cos(angle)
        matrix[i, j], matrix[j, i] = -math.sin(angle), math.sin(angle)
    return matrix


@pytest.mark.parametrize("grid", [(3, 3), (2, 5), (1, 1)], ids=str)
def test_every_patch_turns_by_its_centre(grid: tuple[int, int]) -> None:
    h, w = grid
    sin, cos = RotaryEmbedding2D(D, BASE)(grid, torch.device("cpu"))
    x = torch.randn(2, 3, 2 + h * w, D).double()
    out = apply_rotary(x, sin, cos)
    assert torch.equal(out[:, :, :2], x[:, :, :2])  # prefix tokens have no place
    for patch in range(h * w):
        row = 2 * (patch // w + 0.5) / h - 1  # the map spans [-1, 1], its patches' centres less
        column = 2 * (patch % w + 0.5) / w - 1
        expected = x[:, :, 2 + patch] @ rotation(row, column).T
        torch.testing.assert_close(out[:, :, 2 + patch], expected, rtol=1e-5, atol=1e-5)


def test_attention_sees_differences_of_position_only() -> None:
    """Among patches that are as far apart, q . k is the same wherever they are."""
    sin, cos = RotaryEmbedding2D(D, BASE)((4, 4), torch.device("cpu"))
    q, k = torch.randn(2, 1, 1, 1, D).expand(2, 1, 1, 16, D)
    scores = (apply_rotary(q, sin, cos) @ apply_rotary(k, sin, cos).transpose(-1, -2))[0, 0]
    scores = scores.reshape(4, 4, 4, 4)
    torch.testing.assert_close(scores[0, 0, 1, 2], scores[2, 1, 3, 3])
    assert not torch.isclose(scores[0, 0, 1, 2], scores[0, 0, 2, 1])


def test_rescaling_stretches_all_patches_alike_and_only_in_training() -> None:
    rope = RotaryEmbedding2D(D, BASE, rescale=2.0)
    grid, device = (2, 2), torch.device("cpu")
    plain = RotaryEmbedding2D(D, BASE)(grid, device)
    assert all(torch.equal(a, b) for a, b in zip(rope.eval()(grid, device), plain))
    rope.train()
    factors = []
    for _ in range(50):
        sin, cos = rope(grid, device)
        # the longest period turns by less than a half circle: its angle can be read off
        angles = torch.atan2(sin, cos)[:, D // 4 - 1]
        plain_angles = torch.atan2(*plain)[:, D // 4 - 1]
        factor = angles / plain_angles
        torch.testing.assert_close(factor, factor[:1].expand(4))
        factors.append(factor[0].item())
    assert 0.5 <= min(factors) < 0.8 and 1.25 < max(factors) <= 2.0


def test_width_that_does_not_divide_by_four() -> None:
    with pytest.raises(ValueError, match="divides by 4, not 6"):
        RotaryEmbedding2D(6)
