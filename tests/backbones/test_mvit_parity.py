"""MViT against timm, mmpretrain and torchvision with the same random weights, outputs and
gradients."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models.video import mvit as torchvision_mvit

from tests.parity import by_our_names
from vit_backbones import MViT

SIZES = [(64, 64), (160, 224), (75, 101)]  # native, a rectangle, no multiple of any stride
TINY = dict(embed_dims=16, depths=(1, 2, 2, 1), num_heads=1, img_size=64)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def randomize(model: nn.Module) -> None:
    """Random tables, biases and norms, too: at their initial values mistakes would hide."""
    for name, parameter in model.named_parameters():
        if "pos" in name or parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.5)


def error(ours: Tensor, reference: Tensor) -> float:
    return ((ours - reference).abs().max() / reference.abs().max()).item()


def assert_same(model: MViT, reference: nn.Module, run, images: Tensor):
    """The outputs of ``model`` and ``run(reference)`` with the same weights: equal to 1e-5 in
    float32. Gradients: equal to 1e-5 in float64, because in float32 rounding can decide which of
    two equal pixels max pooling takes."""
    model.load_state_dict(by_our_names(model, reference.state_dict()))
    for ours, theirs in zip(model(images), run(reference, images), strict=True):
        assert ours.shape == theirs.shape
        assert error(ours, theirs) < 1e-5

    images = images.double()
    ours, theirs = model.double()(images), run(reference.double(), images)
    weights = [torch.randn_like(out) for out in theirs]
    for outputs in (ours, theirs):
        sum((out * w).sum() for out, w in zip(outputs, weights, strict=True)).backward()
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in reference.named_parameters()
    }
    largest = max(gradient.abs().max() for gradient in gradients.values())
    expected = by_our_names(model, gradients)
    for name, parameter in model.named_parameters():
        if parameter.grad is None:  # a stage after the one that is put out
            assert not expected[name].any(), name
            continue
        # the floor is for the keys' bias, which softmax cancels: its gradient is rounding
        bound = 1e-5 * expected[name].abs().max() + 1e-12 * largest
        assert (parameter.grad - expected[name]).abs().max() < bound, name


@pytest.mark.parametrize("cls_token", [False, True])
@pytest.mark.parametrize("expand_attn", [False, True])
def test_equals_timm(cls_token, expand_attn):
    cfg = timm.models.mvitv2.MultiScaleVitCfg(
        depths=TINY["depths"], embed_dim=16, use_cls_token=cls_token, expand_attn=expand_attn
    )
    reference = timm.models.mvitv2.MultiScaleVit(cfg, img_size=64, num_classes=0, global_pool="")
    randomize(reference)
    model = MViT(TINY, cls_token=cls_token, dim_mul_in_attention=expand_attn, out_type="raw")
    images = torch.randn(2, 3, 64, 64)
    assert_same(model, reference, lambda r, x: [r.forward_features(x)], images)


@pytest.mark.parametrize("name", ["mvitv2_tiny", "mvitv2_small"])
def test_presets_equal_timm(name):
    reference = timm.create_model(name, num_classes=0).eval()
    randomize(reference)
    model = MViT(f"mvitv2_{name[7]}", out_type="avg_featmap").eval()
    model.load_state_dict(by_our_names(model, reference.state_dict()))
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert error(model(images)[0], reference(images)) < 1e-5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("in_attention", [True, False])
@pytest.mark.parametrize("stage", range(4))
def test_equals_mmpretrain(size, in_attention, stage):
    """One stage at a time: mmpretrain feeds the normed map of an output stage to the next block,
    which neither the authors' detection code nor MViT does."""
    from mmpretrain.models import MViT as Reference

    arch = dict(embed_dims=16, num_layers=6, num_heads=1, downscale_indices=[1, 3, 5])
    reference = Reference(arch, img_size=64, out_scales=[stage], dim_mul_in_attention=in_attention)
    randomize(reference)
    model = MViT(TINY, dim_mul_in_attention=in_attention, out_indices=stage)

    images = torch.randn(1, 3, *size)
    assert_same(model, reference, lambda r, x: r(x), images)


TINY_V1 = dict(embed_dims=16, depths=(1, 2, 2, 1), img_size=64)


def torchvision_v1(frames: int = 1, settings: dict = TINY_V1) -> nn.Module:
    """torchvision's video model, for one frame or several."""
    arch = MViT("mvit_b16", **settings).arch
    plans = arch.plan()

    def spatial(pooling, of):
        return [1, getattr(pooling, of), getattr(pooling, of)] if pooling else []

    reference = torchvision_mvit.MViT(
        spatial_size=(arch.img_size, arch.img_size),
        temporal_size=frames,
        block_setting=[
            torchvision_mvit.MSBlockConfig(
                num_heads=p.num_heads,
                input_channels=p.dim,
                output_channels=p.out_dim,
                kernel_q=spatial(p.pool_q, "kernel"),
                kernel_kv=spatial(p.pool_kv, "kernel"),
                stride_q=spatial(p.pool_q, "stride"),
                stride_kv=spatial(p.pool_kv, "stride"),
            )
            for p in plans
        ],
        residual_pool=False,
        residual_with_cls_embed=False,
        rel_pos_embed=False,
        proj_after_attn=False,
        patch_embed_kernel=(min(frames, 3), 7, 7),
        patch_embed_stride=(1, 4, 4),
        patch_embed_padding=(int(frames > 1), 3, 3),
    )
    reference.head = nn.Identity()
    return reference


def test_v1_equals_torchvision():
    reference = torchvision_v1()
    randomize(reference)
    model = MViT("mvit_b16", embed_dims=16, depths=(1, 2, 2, 1), img_size=64)

    images = torch.randn(2, 3, 64, 64)
    assert_same(model, reference, lambda r, x: [r(x[:, :, None])], images)


def test_v1_resizes_positions_as_its_authors():
    """SlowFast's _get_pos_embed: trilinear, of one frame."""
    settings = dict(arch="mvit_b16", embed_dims=16, depths=(1, 1), pos_embed="joint")
    model = MViT(**settings, img_size=64)
    randomize(model)
    cls, patches = model.pos_embed.detach().split([1, 16 * 16], dim=1)
    frame = patches.reshape(1, 1, 16, 16, 16).permute(0, 4, 1, 2, 3)
    frame = nn.functional.interpolate(frame, size=(1, 24, 24), mode="trilinear")
    weights = model.state_dict()
    weights["pos_embed"] = torch.cat([cls, frame.flatten(2).transpose(1, 2)], dim=1)
    larger = MViT(**settings, img_size=96)
    larger.load_state_dict(weights)
    images = torch.randn(2, 3, 96, 96)
    torch.testing.assert_close(model(images), larger(images))
