"""Layer-wise learning-rate decay in each library, with no weight decay where none belongs."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import LinearLR, build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from vit_backbones import UserError
from vit_backbones.engine.layer_decay import find_encoders

LR, WEIGHT_DECAY, RATE, DEPTH = 0.1, 0.05, 0.5, 3
BACKBONE = dict(
    type="vit_backbones.VisionTransformer",
    arch=dict(embed_dims=16, depth=DEPTH, num_heads=2, mlp_ratio=2, layer_scale_init=1e-5),
    img_size=32,
    patch_size=8,
)
CLASSIFIER = dict(
    type="mmpretrain.ImageClassifier",
    backbone=BACKBONE,
    head=dict(type="mmpretrain.LinearClsHead", num_classes=3, in_channels=16),
)
SEGMENTER = dict(
    type="mmseg.EncoderDecoder",
    backbone=dict(BACKBONE, out_type="featmap"),
    decode_head=dict(
        type="mmseg.FCNHead",
        num_classes=3,
        in_channels=16,
        channels=8,
        norm_cfg=dict(type="BN"),
        loss_decode=dict(type="mmseg.CrossEntropyLoss"),
    ),
    test_cfg=dict(mode="whole"),
)
DETECTOR = dict(
    type="mmdet.RetinaNet",
    backbone=dict(BACKBONE, out_type="featmap", out_indices=(0, 2)),
    neck=dict(type="mmdet.FPN", in_channels=[16, 16], out_channels=8, num_outs=2),
    bbox_head=dict(
        type="mmdet.RetinaHead",
        num_classes=3,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(
            type="mmdet.AnchorGenerator", scales=[8], ratios=[1.0], strides=[8, 16]
        ),
    ),
)


def param_groups(model: nn.Module, **paramwise: object) -> dict[str, dict]:
    """Parameter name -> its group."""
    cfg = dict(
        constructor="vit_backbones.LayerDecayOptimWrapperConstructor",
        optimizer=dict(type="AdamW", lr=LR, weight_decay=WEIGHT_DECAY),
        paramwise_cfg={"layer_decay_rate": RATE, **paramwise},
    )
    wrapper = build_optim_wrapper(model, cfg)
    names = {id(param): name for name, param in model.named_parameters()}
    return {names[id(p)]: g for g in wrapper.optimizer.param_groups for p in g["params"]}


@pytest.mark.parametrize(
    "cfg, head", [(CLASSIFIER, "head"), (SEGMENTER, "decode"), (DETECTOR, "neck")]
)
def test_rates_fall_from_head_to_patches_in_every_library(cfg, head):
    model = build(cfg)
    groups = param_groups(model)
    assert groups.keys() == {name for name, _ in model.named_parameters()}
    for name, group in groups.items():
        if name.startswith("backbone.blocks."):
            depth = 1 + int(name.split(".")[2])
        elif name.startswith("backbone.norm."):
            depth = DEPTH + 1
        else:
            depth = 0 if name.startswith("backbone.") else DEPTH + 1
        assert group["lr"] == pytest.approx(LR * RATE ** (DEPTH + 1 - depth)), name
    assert any(name.startswith(head) for name in groups)
    assert {"backbone.cls_token", "backbone.pos_embed"} <= groups.keys()


def build(cfg: dict) -> nn.Module:
    init_default_scope(cfg["type"].split(".")[0])
    try:
        return MODELS.build(cfg)
    finally:
        init_default_scope("mmengine")


def test_norms_biases_and_positions_do_not_decay():
    groups = param_groups(
        build(CLASSIFIER),
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={".cls_token": dict(decay_mult=0.0), ".pos_embed": dict(decay_mult=0.0)},
    )
    free = {name for name, group in groups.items() if group["weight_decay"] == 0}
    weights = {name for name, group in groups.items() if group["weight_decay"] == WEIGHT_DECAY}
    assert free | weights == groups.keys()
    assert {n.rsplit(".", 1)[-1] for n in weights} == {"weight"}
    assert not any("norm" in name for name in weights)
    for name in ("cls_token", "pos_embed", "norm.weight", "blocks.0.ls1.gamma"):
        assert f"backbone.{name}" in free, sorted(free)
    assert groups["backbone.pos_embed"]["lr"] == pytest.approx(LR * RATE ** (DEPTH + 1))


def test_parameters_with_equal_settings_share_a_group():
    groups = param_groups(build(CLASSIFIER), bias_decay_mult=0.0, norm_decay_mult=0.0)
    settings = {(g["lr"], g["weight_decay"]) for g in groups.values()}
    assert len({id(g) for g in groups.values()}) == len(settings) < len(groups) / 4


@pytest.mark.parametrize("constructor", ["LayerDecay", "Encoder"])
def test_a_shared_parameter_is_trained_once(constructor):
    head = nn.Linear(16, 2, bias=False)
    model = nn.ModuleDict(
        dict(backbone=build(BACKBONE), first=nn.Sequential(head), second=nn.Sequential(head))
    )
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor=f"vit_backbones.{constructor}OptimWrapperConstructor",
            optimizer=dict(type="SGD", lr=LR),
        ),
    )
    trained = [p for group in wrapper.optimizer.param_groups for p in group["params"]]
    assert len(trained) == len(set(trained)) == len(list(model.parameters()))


def test_multiplies_with_other_rates_of_the_config():
    groups = param_groups(build(CLASSIFIER), custom_keys={"head": dict(lr_mult=10.0)})
    assert groups["head.fc.weight"]["lr"] == pytest.approx(10 * LR)


def test_a_lower_rate_for_the_encoder_leaves_weight_decay_alone():
    groups = param_groups(build(DETECTOR), encoder_lr_mult=0.1, norm_decay_mult=0.0)
    for name, group in groups.items():
        depth = 1 + int(name.split(".")[2]) if name.startswith("backbone.blocks.") else None
        if depth:
            expected = LR * 0.1 * RATE ** (DEPTH + 1 - depth)
            assert group["lr"] == pytest.approx(expected), name
    assert groups["backbone.norm.weight"]["weight_decay"] == 0
    assert groups["backbone.norm.weight"]["lr"] == pytest.approx(LR * 0.1)
    assert groups["backbone.patch_embed.proj.weight"]["weight_decay"] == WEIGHT_DECAY
    assert groups["neck.lateral_convs.0.conv.weight"]["lr"] == pytest.approx(LR)


def test_frozen_parameters_are_left_out():
    model = build(dict(CLASSIFIER, backbone=dict(BACKBONE, frozen_stages=1)))
    groups = param_groups(model)
    assert "backbone.blocks.0.attn.qkv.weight" not in groups
    assert "backbone.blocks.1.attn.qkv.weight" in groups


def test_finds_an_encoder_within_another_module():
    """As SimpleFeaturePyramid or a multi-modal model holds it."""

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build(BACKBONE)
            self.scale = nn.Parameter(torch.ones(3))

    model = nn.Sequential(Wrapper(), nn.Linear(2, 2))
    assert list(find_encoders(model)) == ["0.inner."]
    groups = param_groups(model)
    assert groups["0.inner.blocks.2.attn.qkv.weight"]["lr"] == pytest.approx(LR * RATE)
    assert groups["0.scale"]["lr"] == pytest.approx(LR)

    student = nn.ModuleDict(dict(student=build(CLASSIFIER)))
    assert list(find_encoders(student)) == ["student.backbone."]


def test_the_schedule_keeps_the_proportions():
    model = build(CLASSIFIER)
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor="vit_backbones.LayerDecayOptimWrapperConstructor",
            optimizer=dict(type="AdamW", lr=LR),
            paramwise_cfg=dict(layer_decay_rate=RATE),
        ),
    )
    before = [group["lr"] for group in wrapper.optimizer.param_groups]
    schedule = LinearLR(wrapper, start_factor=0.5, end=4)
    schedule.step()
    after = [group["lr"] for group in wrapper.optimizer.param_groups]
    (factor,) = {round(b / a, 6) for a, b in zip(before, after)}
    assert 0.5 < factor < 1
    assert wrapper.get_lr()["base_lr"][0] == pytest.approx(factor * LR, rel=1e-5)


def test_without_an_encoder_it_says_what_is_missing():
    with pytest.raises(UserError, match="needs an encoder with get_layer_depth, but Linear has"):
        param_groups(nn.Linear(2, 2))
    convolutional = dict(CLASSIFIER, backbone=dict(type="mmpretrain.MobileNetV2"))
    with pytest.raises(UserError, match="but ImageClassifier has none"):
        param_groups(build(convolutional))


@pytest.mark.parametrize("name", ["layer_decay_rate", "encoder_lr_mult"])
@pytest.mark.parametrize("rate", [0, 1.5])
def test_an_impossible_rate_is_refused(name, rate):
    with pytest.raises(UserError, match=rf"{name} must lie in \(0, 1\]"):
        param_groups(nn.Linear(2, 2), **{name: rate})
