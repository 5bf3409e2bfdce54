"""The optimizer after a swap, and what its constructor makes of the parameters."""

from __future__ import annotations

import pytest
from mmengine.optim import build_optim_wrapper

from tests.swap.test_swap import DINO, MASK_RCNN, RESNET, UPERNET
from tests.swap.tiny import ENCODERS, build, shipped, swapped
from vit_backbones import UserError, swap_backbone
from vit_backbones.cli.config import read_config
from vit_backbones.engine.encoder_rules import is_free_of_decay


def groups_of(cfg) -> tuple[dict[str, dict], dict]:
    """Parameter name -> its group, and the parameters."""
    model = build(cfg)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = {names[id(p)]: g for g in wrapper.optimizer.param_groups for p in g["params"]}
    return groups, dict(model.named_parameters())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_decay_and_rate_of_the_backbone(encoder):
    """DINO's config lowers the backbone's rate with custom_keys, which alone would decay norms."""
    groups, parameters = groups_of(swapped(DINO, encoder))
    assert groups.keys() == parameters.keys()
    positions = ("pos_embed", "cls_token", "relative_position_bias_table", "rel_pos_")
    for name, group in groups.items():
        if not name.startswith("backbone."):
            assert (group["lr"], group["weight_decay"]) == (1e-4, 1e-4)
            continue
        assert group["lr"] == pytest.approx(1e-5), name
        free = parameters[name].ndim == 1 or any(p in name for p in positions)
        assert group["weight_decay"] == (0 if free else 1e-4), name
    decayed = {
        n.rsplit(".", 1)[-1] for n, g in groups.items() if g["weight_decay"] and "backb" in n
    }
    assert decayed == {"weight"}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_decay_where_the_config_has_no_rules(encoder):
    groups, parameters = groups_of(swapped(MASK_RCNN, encoder))
    assert groups.keys() == parameters.keys()
    for name, parameter in parameters.items():
        free = name.startswith("backbone.") and is_free_of_decay(name, parameter.ndim)
        assert groups[name]["weight_decay"] == (0 if free else 0.05), name


def test_layer_wise_decay_by_argument():
    groups, _ = groups_of(swapped(MASK_RCNN, "vit_b16", layer_decay_rate=0.5))
    assert groups["backbone.patch_embed.proj.weight"]["lr"] == pytest.approx(1e-4 * 0.5**5)
    assert groups["backbone.blocks.3.mlp.fc1.weight"]["lr"] == pytest.approx(1e-4 * 0.5)
    assert groups["neck.simfp_2.0.weight"]["lr"] == pytest.approx(1e-4)


def test_layer_wise_decay_of_another_librarys_constructor():
    """mmseg's counts the layers of its own ViTs."""
    cfg = shipped("mmseg::beit/beit-base_upernet_8xb2-160k_ade20k-640x640")
    assert cfg.optim_wrapper.paramwise_cfg == dict(num_layers=12, layer_decay_rate=0.9)
    report = swap_backbone(cfg, "vit_b16", **ENCODERS["vit_b16"])
    assert any("layer_decay_rate=0.9 is the old backbone's" in note for note in report.notes)
    assert cfg.optim_wrapper.paramwise_cfg == dict(layer_decay_rate=0.9)
    groups, _ = groups_of(cfg)
    rate = cfg.optim_wrapper.optimizer.lr
    assert groups["backbone.blocks.0.mlp.fc1.weight"]["lr"] == pytest.approx(rate * 0.9**4)


def test_rules_for_parts_of_the_old_backbone_are_dropped():
    cfg = read_config("mmdet::mask2former/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco")
    before = cfg.optim_wrapper.paramwise_cfg.custom_keys
    assert "backbone.stages.0.blocks.0.norm" in before
    swap_backbone(cfg, "swin_t")
    keys = cfg.optim_wrapper.paramwise_cfg.custom_keys
    assert not any(key.startswith("backbone.stages") for key in keys)
    assert keys["backbone"] == before["backbone"]
    assert keys["query_embed"] == before["query_embed"]
    assert keys["backbone.patch_embed.norm"] == before["backbone.patch_embed.norm"]


def test_sgd_for_a_resnet_becomes_adamw_with_its_schedule():
    cfg = read_config(UPERNET)
    assert (cfg.optim_wrapper.optimizer.lr, cfg.param_scheduler[0].eta_min) == (0.01, 1e-4)
    report = swap_backbone(cfg, "swin_t")
    assert cfg.optim_wrapper.optimizer == dict(type="AdamW", lr=6e-5, weight_decay=0.01)
    assert cfg.param_scheduler[0].eta_min == pytest.approx(6e-7)
    assert any("AdamW with lr=6e-05" in note for note in report.notes)
    cfg = read_config(RESNET)  # for 256 images, a quarter of the batch of Swin's recipe
    swap_backbone(cfg, "swin_t")
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(2.5e-4)


def test_convolutional_is_what_has_no_layer_norm():
    cfg = read_config("mmdet::gn/mask-rcnn_r50_fpn_gn-all_2x_coco")
    swap_backbone(cfg, "swin_t")
    assert cfg.optim_wrapper.optimizer.type == "AdamW"


@pytest.mark.parametrize(
    "config, notes",
    [
        ("mobilenet_v3/mobilenet-v3-small_8xb128_in1k", ["RMSprop is kept"]),
        (
            "byol/benchmarks/resnet50_8xb512-linear-coslr-90e_in1k",
            ["LARS is kept", "The old backbone was frozen"],
        ),
    ],
)
def test_what_was_right_for_the_old_backbone_is_said(config, notes):
    cfg = read_config(f"mmpretrain::{config}")
    before = cfg.optim_wrapper.optimizer
    report = swap_backbone(cfg, "swin_t")
    assert cfg.optim_wrapper.optimizer == before
    assert all(any(text in note for note in report.notes) for text in notes)


def test_sgd_is_kept_where_it_is_wanted():
    cfg = read_config(MASK_RCNN)
    before = cfg.optim_wrapper.optimizer
    report = swap_backbone(cfg, "swin_t", keep_optimizer=True)
    assert cfg.optim_wrapper.optimizer == before
    assert any("SGD is kept" in note for note in report.notes)


def test_an_unknown_constructor_is_left_and_said():
    cfg = read_config(MASK_RCNN)
    cfg.optim_wrapper.constructor = "MyConstructor"
    with pytest.raises(UserError, match="a constructor of its own"):
        swap_backbone(cfg, "swin_t", layer_decay_rate=0.9)
    report = swap_backbone(cfg, "swin_t")
    assert cfg.optim_wrapper.constructor == "MyConstructor"
    assert any("MyConstructor is left" in note for note in report.notes)
