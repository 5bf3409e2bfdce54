"""What an encoder's optimizer leaves out of weight decay."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from vit_backbones import build_backbone
from vit_backbones.engine.encoder_rules import is_free_of_decay

FAMILIES = [
    "vit_s16", "deit3_s16", "dinov2_s14_reg", "dinov3_splus16", "clip_b16", "vitdet_b",
    "swin_t", "swinv2_t", "mvit_b16", "mvitv2_t",
]  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_matrices_decay_and_nothing_else(name):
    """By the modules that hold the parameters: linear and convolution weights, but for the small
    network of Swin v2 that computes positions."""
    with torch.device("meta"):
        model = build_backbone(name)
    matrices = {
        f"{prefix}.weight"
        for prefix, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and "cpb_mlp" not in prefix
    }
    decayed = {n for n, p in model.named_parameters() if not is_free_of_decay(n, p.ndim)}
    assert decayed == matrices


def groups_by_name(**wrapper) -> dict[str, dict]:
    model = nn.ModuleDict(
        dict(
            backbone=build_backbone("vit_ti16", embed_dims=16, depth=1, num_heads=2, img_size=32),
            neck=nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16)),
        )
    )
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor="vit_backbones.EncoderOptimWrapperConstructor",
            optimizer=dict(type="AdamW", lr=0.1, weight_decay=0.05),
            **wrapper,
        ),
    )
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: g for g in wrapper.optimizer.param_groups for p in g["params"]}


def test_the_rest_of_a_model_follows_the_config():
    groups = groups_by_name(paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}))
    assert groups["neck.1.weight"]["weight_decay"] == 0.05  # mmengine's default
    assert groups["neck.0.bias"]["lr"] == 0.1
    for name in ("pos_embed", "cls_token", "norm.weight", "blocks.0.attn.qkv.bias"):
        group = groups[f"backbone.{name}"]
        assert (group["weight_decay"], group["lr"]) == (0.0, pytest.approx(0.01))
    assert groups["backbone.blocks.0.attn.qkv.weight"]["weight_decay"] == 0.05


@pytest.mark.parametrize("wrapper", [{}, dict(paramwise_cfg=None), dict(paramwise_cfg={})])
def test_the_rules_hold_where_the_config_has_none(wrapper):
    """mmengine passes all parameters on as they are then."""
    groups = groups_by_name(**wrapper)
    assert groups["neck.0.bias"]["weight_decay"] == 0.05
    for name in ("pos_embed", "cls_token", "norm.weight", "blocks.0.attn.qkv.bias"):
        assert groups[f"backbone.{name}"]["weight_decay"] == 0.0
    assert groups["backbone.blocks.0.attn.qkv.weight"]["weight_decay"] == 0.05
