"""SimpleFeaturePyramid against its definition, written down a second time in plain functions."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

import vit_backbones as vb
from vit_backbones.necks import SimpleFeaturePyramid

DIM, OUT = 16, 12


def channel_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance + 1e-6) over the channels of each pixel."""
    centred = x - x.mean(dim=1, keepdim=True)
    x = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
    return x * weight[:, None, None] + bias[:, None, None]


def enlarge(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A transposed convolution of side and stride 2: each pixel becomes its own 2 x 2 pixels."""
    B, _, h, w = x.shape
    pixels = torch.einsum("bihw,ioyx->bohywx", x, weight)
    return pixels.reshape(B, -1, 2 * h, 2 * w) + bias[:, None, None]


def reference(x: Tensor, w: dict[str, Tensor], extra_levels: int) -> list[Tensor]:
    """Li et al. 2022, figure 2c with the details of detectron2's vit.py: strides 4, 8, 16, 32."""

    def norm(x: Tensor, name: str) -> Tensor:
        return channel_norm(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def up(x: Tensor, name: str) -> Tensor:
        return enlarge(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def lateral(x: Tensor, level: str, first: int) -> Tensor:
        one, three = f"{level}.{first}", f"{level}.{first + 1}"
        x = norm(F.conv2d(x, w[f"{one}.weight"]), f"{one}.norm")
        return norm(F.conv2d(x, w[f"{three}.weight"], padding=1), f"{three}.norm")

    up4 = up(F.gelu(norm(up(x, "simfp_2.0"), "simfp_2.1")), "simfp_2.3")
    halved = torch.stack(
        [x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    ).amax(0)  # fmt: skip
    levels = [
        lateral(up4, "simfp_2", 4),
        lateral(up(x, "simfp_3.0"), "simfp_3", 1),
        lateral(x, "simfp_4", 0),
        lateral(halved, "simfp_5", 1),
    ]
    for _ in range(extra_levels):
        levels.append(levels[-1][:, :, ::2, ::2])
    return levels


def randomised(neck: SimpleFeaturePyramid) -> SimpleFeaturePyramid:
    """Norms start at one and zero, which would hide that they are applied."""
    torch.manual_seed(0)
    for parameter in neck.parameters():
        torch.nn.init.normal_(parameter, mean=0.2, std=0.5)
    return neck


@pytest.mark.parametrize("extra_levels", [0, 1, 2])
@pytest.mark.parametrize("size", [(4, 4), (6, 10)])
def test_equals_the_definition(extra_levels, size):
    neck = randomised(SimpleFeaturePyramid(DIM, OUT, num_outs=4 + extra_levels)).double()
    x = torch.randn(2, DIM, *size, dtype=torch.float64, requires_grad=True)
    copy = x.detach().clone().requires_grad_()
    ours, theirs = neck([x]), reference(copy, neck.state_dict(), extra_levels)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    sum(level.square().sum() for level in ours).backward()
    sum(level.square().sum() for level in theirs).backward()
    torch.testing.assert_close(x.grad, copy.grad, rtol=1e-9, atol=1e-9)


def test_parameters_have_detectron2s_names():
    names = set(SimpleFeaturePyramid(DIM, OUT, num_outs=5).state_dict())
    convs = {"simfp_2": (4, 5), "simfp_3": (1, 2), "simfp_4": (0, 1), "simfp_5": (1, 2)}
    expected = {
        f"{level}.{i}.{name}"
        for level, indices in convs.items()
        for i in indices
        for name in ("weight", "norm.weight", "norm.bias")
    }
    ups = ("simfp_2.0", "simfp_2.1", "simfp_2.3", "simfp_3.0")
    expected |= {f"{name}.{kind}" for name in ups for kind in ("weight", "bias")}
    assert names == expected


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (37, 25)])
def test_odd_maps_keep_their_border(size):
    h, w = size
    neck = randomised(SimpleFeaturePyramid(DIM, OUT, num_outs=5))
    sizes = [tuple(level.shape[2:]) for level in neck((torch.randn(1, DIM, h, w),))]
    half = (-(-h // 2), -(-w // 2))
    quarter = (-(-half[0] // 2), -(-half[1] // 2))
    assert sizes == [(4 * h, 4 * w), (2 * h, 2 * w), (h, w), half, quarter]


def test_a_patch_of_8_reaches_the_same_strides():
    neck = randomised(SimpleFeaturePyramid(DIM, OUT, scale_factors=(2, 1, 0.5, 0.25)))
    sizes = [level.shape[-1] for level in neck(torch.randn(1, DIM, 8, 8))]
    assert sizes == [16, 8, 4, 2]
    assert neck.levels == ["simfp_3", "simfp_4", "simfp_5", "simfp_6"]


def test_a_patch_of_32_needs_one_more_enlargement():
    neck = SimpleFeaturePyramid(DIM, OUT, scale_factors=(8, 4))
    kinds = [type(layer).__name__ for layer in neck.simfp_1]
    up, between = "ConvTranspose2d", ["ChannelNorm", "GELU"]
    assert kinds == [up, *between, up, *between, up, "ConvNorm", "ConvNorm"]
    assert [level.shape[-1] for level in neck([torch.randn(1, DIM, 2, 2)])] == [16, 8]


@pytest.mark.parametrize("size", [(64, 64), (50, 70)])
def test_behind_a_vit_from_the_registry(size):
    arch = dict(embed_dims=DIM, depth=2, num_heads=2, patch_size=16, img_size=64)
    vit = vb.build_backbone("vit_ti16", **arch, out_indices=(0, 1), out_type="featmap")
    neck = MODELS.build(
        dict(type="vit_backbones.SimpleFeaturePyramid", in_channels=[DIM, DIM], out_channels=OUT)
    )
    levels = neck(vit(torch.randn(1, 3, *size)))
    rows = [-(-size[0] // 16) * 4 // 2**i for i in range(4)]
    assert [level.shape[2] for level in levels[:3]] == rows[:3]
    sum(level.mean() for level in levels).backward()
    last = vit.blocks[-1].mlp.fc2.weight.grad
    assert last is not None and last.abs().sum() > 0


def test_compiles_without_a_graph_break():
    neck = SimpleFeaturePyramid(DIM, OUT, num_outs=5)
    x = torch.randn(1, DIM, 6, 6)
    for a, b in zip(torch.compile(neck, fullgraph=True, backend="eager")([x]), neck([x])):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(scale_factors=(3, 1)), "powers of two, largest first"),
        (dict(scale_factors=(1, 2)), "powers of two, largest first"),
        (dict(scale_factors=()), "powers of two, largest first"),
        (dict(scale_factors=(0,)), "powers of two, largest first"),
        (dict(num_outs=3), "num_outs=3 is less than the 4 levels"),
        (dict(in_channels=6), "in_channels=6 must divide by 4"),
    ],
)
def test_settings_that_cannot_work(settings, message):
    with pytest.raises(vb.UserError, match=message):
        SimpleFeaturePyramid(**{"in_channels": DIM, **settings})


def test_levels_are_contiguous_for_compiled_ops():
    levels = SimpleFeaturePyramid(DIM, num_outs=5)(torch.randn(2, DIM, 4, 6))
    assert all(level.is_contiguous() for level in levels)


@pytest.mark.parametrize("bad", [torch.randn(1, DIM), torch.randn(1, 8, 4, 4), "map"])
def test_maps_of_another_shape(bad):
    with pytest.raises(vb.UserError, match=r"takes a map of shape \(batch, 16, height, width\)"):
        SimpleFeaturePyramid(DIM)([bad])
