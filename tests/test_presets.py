"""The table of presets: every row builds, with the size and structure of the published model."""

from __future__ import annotations

import functools
import re

import pytest
import timm
import torch
import transformers
from torch import nn

from vit_backbones import UserError, build_backbone, list_backbones
from vit_backbones.backbones.presets import PRESETS, get_preset

# The same architecture in timm. Parameters that only one side has are in EXTRA.
TIMM = {
    "vit_ti16": "vit_tiny_patch16_224",
    "vit_s16": "vit_small_patch16_224",
    "vit_s32": "vit_small_patch32_224",
    "vit_b16": "vit_base_patch16_224",
    "vit_b32": "vit_base_patch32_224",
    "vit_l16": "vit_large_patch16_224",
    "vit_l32": "vit_large_patch32_224",
    "vit_h14": "vit_huge_patch14_224",
    "deit_ti16": "deit_tiny_patch16_224",
    "deit_s16": "deit_small_patch16_224",
    "deit_b16": "deit_base_patch16_224",
    "deit3_s16": "deit3_small_patch16_224",
    "deit3_m16": "deit3_medium_patch16_224",
    "deit3_b16": "deit3_base_patch16_224",
    "deit3_l16": "deit3_large_patch16_224",
    "deit3_h14": "deit3_huge_patch14_224",
    "mae_b16": "vit_base_patch16_224",
    "mae_l16": "vit_large_patch16_224",
    "mae_h14": "vit_huge_patch14_224",
    "dino_s16": "vit_small_patch16_224",
    "dino_s8": "vit_small_patch8_224",
    "dino_b16": "vit_base_patch16_224",
    "dino_b8": "vit_base_patch8_224",
    "dinov2_s14": "vit_small_patch14_dinov2",
    "dinov2_b14": "vit_base_patch14_dinov2",
    "dinov2_l14": "vit_large_patch14_dinov2",
    "dinov2_g14": "vit_giant_patch14_dinov2",
    "dinov2_s14_reg": "vit_small_patch14_reg4_dinov2",
    "dinov2_b14_reg": "vit_base_patch14_reg4_dinov2",
    "dinov2_l14_reg": "vit_large_patch14_reg4_dinov2",
    "dinov2_g14_reg": "vit_giant_patch14_reg4_dinov2",
    "dinov3_s16": "vit_small_patch16_dinov3_qkvb",
    "dinov3_splus16": "vit_small_plus_patch16_dinov3_qkvb",
    "dinov3_b16": "vit_base_patch16_dinov3_qkvb",
    "dinov3_l16": "vit_large_patch16_dinov3_qkvb",
    "dinov3_hplus16": "vit_huge_plus_patch16_dinov3_qkvb",
    "clip_b32": "vit_base_patch32_clip_quickgelu_224",
    "clip_b16": "vit_base_patch16_clip_quickgelu_224",
    "clip_l14": "vit_large_patch14_clip_quickgelu_224",
    "clip_l14_336": "vit_large_patch14_clip_quickgelu_336",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    "swin_l": "swin_large_patch4_window7_224",
    "swinv2_t": "swinv2_tiny_window8_256",
    "swinv2_s": "swinv2_small_window8_256",
    "swinv2_b": "swinv2_base_window8_256",
    "swinv2_l": "swinv2_large_window12_192",
    "mvitv2_t": "mvitv2_tiny",
    "mvitv2_s": "mvitv2_small",
    "mvitv2_b": "mvitv2_base",
    "mvitv2_l": "mvitv2_large",
}


@functools.cache
def on_meta(name: str, **settings) -> nn.Module:
    with torch.device("meta"):
        return build_backbone(name, **settings)


def timm_on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(TIMM[name], num_classes=0)


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def extra(name: str, model: nn.Module) -> int:
    """Parameters that we have and timm's model hasn't."""
    if name.startswith("dinov2") and name.endswith("reg"):
        return model.embed_dims  # the class token's position, which timm adds to the token
    if name.startswith("dinov3"):
        return model.num_layers * model.embed_dims  # the key bias, which is held at zero
    return 0


@pytest.mark.parametrize("name", list_backbones())
def test_size_in_the_table(name: str) -> None:
    assert size(on_meta(name)) / 1e6 == pytest.approx(get_preset(name).params, abs=0.01)
    assert re.search(r"\d{4} \((arXiv:)?\d{4}\.\d{5}\)", get_preset(name).source)


@pytest.mark.parametrize("name", TIMM)
def test_size_and_structure_equal_timms(name: str) -> None:
    ours, peer = on_meta(name), timm_on_meta(name)
    assert size(ours) - extra(name, ours) == size(peer)
    if get_preset(name).type != "VisionTransformer":
        return
    # what the number of parameters doesn't show
    block, theirs = ours.blocks[0], peer.blocks[0]
    assert block.attn.num_heads == theirs.attn.num_heads
    assert len(ours.blocks) == len(peer.blocks)
    assert ours.num_prefix_tokens == peer.num_prefix_tokens
    assert ours.patch_embed.patch_size == peer.patch_embed.patch_size
    assert ours.norm.eps == block.norm1.eps == peer.norm.eps == theirs.norm1.eps
    if hasattr(block.mlp, "act"):
        assert type(block.mlp.act).__name__ == type(theirs.mlp.act).__name__
    if ours.pos_embed is not None:
        assert ours.arch.grid == peer.patch_embed.grid_size


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("vitdet_b", dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12)),
        ("vitdet_l", dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16)),
        ("vitdet_h", dict(hidden_size=1280, num_hidden_layers=32, num_attention_heads=16)),
    ],
)
def test_vitdet_equals_transformers(name: str, config: dict) -> None:
    """Windows but for the last block of each quarter, 14 patches wide."""
    depth = config["num_hidden_layers"]
    windowed = [i for i in range(depth) if (i + 1) % (depth // 4)]
    with torch.device("meta"):
        peer = transformers.VitDetModel(
            transformers.VitDetConfig(
                image_size=1024,
                window_size=14,
                window_block_indices=windowed,
                use_relative_position_embeddings=True,
                **config,
            )
        )
    model = on_meta(name)
    class_position = model.embed_dims  # transformers keeps it, without use
    assert size(model) == size(peer) - class_position
    for ours, theirs in zip(model.blocks, peer.encoder.layer, strict=True):
        assert ours.attn.rel_pos_h.shape == theirs.attention.rel_pos_h.shape
        assert ours.attn.num_heads == theirs.attention.num_heads
        assert ours.norm1.eps == theirs.norm1.eps


@pytest.mark.parametrize(
    ("name", "millions"), [("vit_b16", 86), ("vit_l16", 307), ("vit_h14", 632)]
)
def test_published_sizes(name: str, millions: float) -> None:
    """ViT, Dosovitskiy et al. 2021, table 1."""
    assert size(on_meta(name)) / 1e6 == pytest.approx(millions, rel=0.02)


def test_every_preset_has_an_independent_count() -> None:
    assert set(PRESETS) - set(TIMM) == {"vitdet_b", "vitdet_l", "vitdet_h", "mvit_b16"}


def test_stochastic_depth_of_vitdet() -> None:
    """detectron2's configs."""
    rates = [
        on_meta(name).blocks[-1].drop_path.rate for name in ("vitdet_b", "vitdet_l", "vitdet_h")
    ]
    assert rates == [0.1, 0.4, 0.5]


def test_listing() -> None:
    assert list_backbones() == sorted(PRESETS)
    assert list_backbones("dinov2_?14") == ["dinov2_b14", "dinov2_g14", "dinov2_l14", "dinov2_s14"]
    assert list_backbones("nothing*") == []


def test_settings_win_over_the_preset_and_leave_it_alone() -> None:
    settings = dict(get_preset("dinov2_s14").settings)
    model = on_meta("dinov2_s14", depth=2, img_size=224)
    assert (len(model.blocks), model.arch.grid, model.arch.layer_scale_init) == (2, (16, 16), 1.0)
    assert get_preset("dinov2_s14").settings == settings


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UserError, match="no preset 'dinov2_s16', did you mean 'dino"):
        get_preset("dinov2_s16")


def test_a_preset_beside_arch() -> None:
    with pytest.raises(UserError, match="the preset is the first argument"):
        build_backbone("vit_s16", arch=dict(depth=2))
