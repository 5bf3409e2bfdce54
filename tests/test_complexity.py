"""Counted multiply-adds and activations against counts by hand, and against published ones."""

from __future__ import annotations

import pytest
import torch

from vit_backbones import VisionTransformer, build_backbone
from vit_backbones.complexity import count

D, HEADS, DEPTH, PATCH, H, W = 16, 2, 3, 4, 5, 7
TINY = dict(embed_dims=D, depth=DEPTH, num_heads=HEADS, patch_size=PATCH, img_size=16)
SIZE = (PATCH * H - 1, PATCH * W)  # padded to H x W patches
PATCHES = H * W


def test_plain_vit() -> None:
    model = VisionTransformer(TINY, num_registers=2, out_type="featmap", out_indices=(0, -1))
    counted = count(model, SIZE)
    N = 3 + PATCHES
    embedding = PATCHES * D * 3 * PATCH**2
    qkv, attention, proj, mlp = N * D * 3 * D, 2 * N * N * D, N * D * D, 2 * N * D * 4 * D
    assert counted.flops == embedding + DEPTH * (qkv + attention + proj + mlp)
    block = N * 3 * D + HEADS * N * N + N * D + N * D + N * 4 * D + N * D
    assert counted.activations == PATCHES * D + DEPTH * block
    assert counted.outputs == ((D, H, W), (D, H, W))
    assert counted.params == sum(p.numel() for p in model.parameters())


def test_swiglu_and_qk_norm() -> None:
    plain = count(VisionTransformer(TINY), SIZE)
    gated = count(VisionTransformer(TINY, mlp="swiglu", qk_norm=True), SIZE)
    N, hidden = 1 + PATCHES, 48  # 2/3 of 64, rounded up to a multiple of 8
    assert gated.flops - plain.flops == DEPTH * N * D * (3 * hidden - 2 * 4 * D)


def test_relative_position_counts_its_definition() -> None:
    """q . Rh for each row and q . Rw for each column; the folded form's wider heads don't count."""
    settings = dict(cls_token=False)
    plain = count(VisionTransformer(TINY, position="none", **settings), SIZE)
    relative = count(VisionTransformer(TINY, position="decomposed", **settings), SIZE)
    assert relative.flops - plain.flops == DEPTH * PATCHES * D * (H + W)
    assert relative.activations - plain.activations == DEPTH * HEADS * PATCHES * (H + W)


def test_windows_count_their_padding() -> None:
    settings = dict(cls_token=False, position="none", depth=1)
    plain = count(VisionTransformer(TINY, **settings), SIZE)
    windows = count(
        VisionTransformer(TINY, attention=dict(type="window", window_size=4), **settings), SIZE
    )
    attention = 2 * 4 * 16**2 * D  # 4 windows of 16 tokens
    zero_token = 3 * D * D  # the padding, projected once
    assert windows.flops - plain.flops == attention + zero_token - 2 * PATCHES**2 * D


def test_the_model_stays_as_it_is() -> None:
    model = VisionTransformer(TINY, in_channels=1, drop_path_rate=0.5).train()
    before = {name: p.clone() for name, p in model.named_parameters()}
    assert count(model, SIZE).outputs == ((D,),)
    assert model.training
    for name, parameter in model.named_parameters():
        assert parameter.device.type == "cpu" and torch.equal(parameter, before[name])


@pytest.mark.parametrize(
    ("name", "size", "gflops"),
    [
        ("vit_b16", 384, 55.4),  # these two and DeiT: Swin, table 1
        ("vit_l16", 384, 190.7),
        ("deit_ti16", 224, 1.3),
        ("deit_s16", 224, 4.6),
        ("deit_b16", 224, 17.5),
        ("deit3_l16", 224, 61.6),  # DeiT III, table 1
        ("deit3_h14", 224, 167.4),
        ("swin_t", 224, 4.5),  # Swin, table 1
        ("swin_s", 224, 8.7),
        ("swin_b", 224, 15.4),
        ("mvitv2_t", 224, 4.7),  # MViTv2, table 1
        ("mvitv2_s", 224, 7.0),
        ("mvitv2_b", 224, 10.2),
    ],
)
def test_published_multiply_adds(name: str, size: int, gflops: float) -> None:
    with torch.device("meta"):
        model = build_backbone(name)
    rounding = 0.05 / gflops
    assert count(model, (size, size)).flops / 1e9 == pytest.approx(gflops, rel=max(0.02, rounding))
