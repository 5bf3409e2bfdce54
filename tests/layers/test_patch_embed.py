"""Patch embedding against a linear map of every patch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.parity import randomize
from vit_backbones.layers.patch_embed import PatchEmbed, pad_to_multiple


@pytest.mark.parametrize("size", [(8, 12), (7, 10), (1, 1)], ids=str)
@pytest.mark.parametrize("patch", [(4, 4), (2, 3)], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_each_patch_is_projected(size: tuple, patch: tuple, bias: bool) -> None:
    embed = randomize(PatchEmbed(3, 5, patch, bias=bias)).double()
    images = torch.randn(2, 3, *size).double()
    out = embed(images)
    h, w = -(-size[0] // patch[0]), -(-size[1] // patch[1])
    assert out.shape == (2, 5, h, w)
    padded = F.pad(images, (0, w * patch[1] - size[1], 0, h * patch[0] - size[0]))
    weight = embed.proj.weight.flatten(1)
    for i in range(h):
        for j in range(w):
            rows = slice(i * patch[0], (i + 1) * patch[0])
            columns = slice(j * patch[1], (j + 1) * patch[1])
            expected = padded[:, :, rows, columns].flatten(1) @ weight.T
            if bias:
                expected = expected + embed.proj.bias
            torch.testing.assert_close(out[:, :, i, j], expected)


def test_norm_is_over_the_channels() -> None:
    embed = randomize(PatchEmbed(3, 5, (4, 4), norm_layer=nn.LayerNorm)).double()
    images = torch.randn(2, 3, 8, 8).double()
    plain = embed.proj(images)
    expected = F.layer_norm(plain[:, :, 1, 0], (5,), embed.norm.weight, embed.norm.bias)
    torch.testing.assert_close(embed(images)[:, :, 1, 0], expected)


def test_sizes_that_divide_are_not_copied() -> None:
    images = torch.randn(1, 3, 8, 8)
    assert pad_to_multiple(images, (4, 4)) is images
