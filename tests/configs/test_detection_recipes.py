"""The recipes for COCO: their numbers, the library's own model behind them, and that each trains.

COCO itself was never at hand. For the runs encoders are narrow and shallow and images small, see
recipes.py; the rest is the recipe's.
"""

from __future__ import annotations

import importlib.util
import re
from functools import cache

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

import vit_backbones  # noqa: F401  (first: it makes mmdet importable)
from tests.configs.recipes import make_coco, recipes, run
from vit_backbones.cli.config import read_config

CONFIGS = recipes("_coco")
SWIN_T, SWIN_L = (
    "timm/swin_tiny_patch4_window7_224.ms_in1k",
    "timm/swin_large_patch4_window12_384.ms_in22k",
)
MVIT_T, MVIT_B = "timm/mvitv2_tiny.fb_in1k", "timm/mvitv2_base.fb_in1k"
MAE, DEIT = "timm/vit_base_patch16_224.mae", "timm/deit_base_patch16_224.fb_in1k"
# name: parameters in millions; weights to start from; learning rate, its factor for the encoder,
# decay; epochs or iterations, and where the rate falls; batch; stochastic depth; clipping
PUBLISHED = {
    "detr_vit_b16_coco": (103.5, DEIT, 1e-4, 0.1, 1e-4, 150, [100], 16, 0.1, 0.1),
    "deformable_detr_swin_t_coco": (41.7, SWIN_T, 2e-4, 0.1, 1e-4, 50, [40], 32, 0.2, 0.1),
    "dino_swin_t_coco": (48.3, SWIN_T, 1e-4, 0.1, 1e-4, 12, [11], 16, 0.1, 0.1),
    "dino_swin_l_coco": (218.5, SWIN_L, 1e-4, 0.1, 1e-4, 12, [11], 16, 0.2, 0.1),
    "dino_vit_b16_coco": (108.0, MAE, 1e-4, 0.1, 1e-4, 12, [11], 16, 0.1, 0.1),
    "dino_mvitv2_t_coco": (44.2, MVIT_T, 1e-4, 0.1, 1e-4, 12, [11], 16, 0.2, 0.1),
    "mask_rcnn_swin_t_coco": (47.8, SWIN_T, 1e-4, 1, 0.05, 36, [27, 33], 16, 0.2, None),
    "mask_rcnn_mvitv2_t_coco": (
        43.7, MVIT_T, 1.6e-4, 1, 0.1, 67500, [52500, 62500], 64, 0.2, None,
    ),
    "mask_rcnn_vitdet_b_coco": (
        110.9, MAE, 1e-4, 1, 0.1, 184375, [163889, 177546], 64, 0.1, None,
    ),
    "cascade_mask_rcnn_mvitv2_b_coco": (
        108.4, MVIT_B, 1.6e-4, 1, 0.1, 67500, [52500, 62500], 64, 0.4, None,
    ),
    "mask2former_swin_t_coco_instance": (
        47.4, SWIN_T, 1e-4, 0.1, 0.05, 368750, [327778, 355092], 16, 0.3, 0.01,
    ),
    "mask2former_swin_t_coco_panoptic": (
        47.4, SWIN_T, 1e-4, 0.1, 0.05, 368750, [327778, 355092], 16, 0.3, 0.01,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    return make_coco(tmp_path_factory.mktemp("coco"))


def build(cfg: Config):
    """The config's model, without memory."""
    init_default_scope("mmdet")
    with torch.device("meta"):
        return MODELS.build(cfg.model)


@cache
def groups_of(name: str) -> dict[str, dict]:
    """Parameter name -> its group in the recipe's optimizer, at the recipe's full size."""
    model = build(cfg := read_config(name))
    wrapper = Config(dict(cfg.optim_wrapper, type="OptimWrapper"))
    optimizer = build_optim_wrapper(model, wrapper._cfg_dict).optimizer
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(p)]: dict(g, size=p.numel()) for g in optimizer.param_groups for p in g["params"]
    }


def test_every_recipe_is_in_the_table():
    assert sorted(PUBLISHED) == CONFIGS


@pytest.mark.parametrize("name", CONFIGS)
def test_recipes_are_as_published(name):
    cfg = read_config(name)
    size, weights, lr, factor, decay, length, milestones, batch, drop_path, clip = PUBLISHED[name]
    groups = groups_of(name)
    parameters = sum(group["size"] for group in groups.values())
    assert parameters / 1e6 == pytest.approx(size, abs=0.06)
    assert cfg.model.backbone.init_cfg == dict(type="Pretrained", checkpoint=weights)
    assert cfg.model.backbone.drop_path_rate == drop_path
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", lr, decay)
    assert cfg.train_cfg["max_epochs" if length < 1000 else "max_iters"] == length
    assert cfg.param_scheduler[-1].milestones == milestones
    assert cfg.param_scheduler[-1].end == length
    assert cfg.param_scheduler[-1].get("by_epoch", True) is cfg.train_cfg.by_epoch
    assert cfg.auto_scale_lr.base_batch_size == batch
    assert batch % cfg.train_dataloader.batch_size == 0
    assert (cfg.optim_wrapper.get("clip_grad") or {}).get("max_norm") == clip
    for key, group in groups.items():
        if not re.search("backbone.|sampling_offsets|reference_points", key):
            assert group["lr"] == pytest.approx(lr), key
    assert groups["backbone.patch_embed.proj.weight"]["lr"] == pytest.approx(
        lr * (0.7**13 if name == "mask_rcnn_vitdet_b_coco" else factor)
    )
    normalisation = cfg.model.data_preprocessor
    assert (normalisation.mean[0], normalisation.std[0]) == (123.675, 58.395)  # of the weights'
    assert normalisation.bgr_to_rgb


def without_decay(name: str) -> tuple[dict[str, dict], set[str]]:
    groups = groups_of(name)
    return groups, {key for key, group in groups.items() if group["weight_decay"] == 0}


def test_swin_decays_neither_norms_nor_tables():
    _, free = without_decay("mask_rcnn_swin_t_coco")
    assert "backbone.layers.0.blocks.0.attn.relative_position_bias_table" in free
    assert {"backbone.norm3.bias", "backbone.layers.1.downsample.norm.weight"} <= free
    assert all("norm" in name or "relative_position" in name for name in free)


@pytest.mark.parametrize("name", ["mask_rcnn_mvitv2_t_coco", "cascade_mask_rcnn_mvitv2_b_coco"])
def test_mvit_decays_neither_norms_nor_relative_positions(name):
    _, free = without_decay(name)
    assert {"backbone.blocks.3.attn.rel_pos_h", "backbone.blocks.3.norm1.weight"} <= free
    assert "backbone.blocks.3.attn.qkv.bias" not in free  # detectron2 decays biases
    assert ("roi_head.mask_head.0.convs.0.bn.weight" in free) is name.startswith("cascade")


def test_vitdets_rates_fall_from_head_to_patches():
    groups, free = without_decay("mask_rcnn_vitdet_b_coco")
    for block in range(12):
        rate = groups[f"backbone.blocks.{block}.attn.qkv.weight"]["lr"]
        assert rate == pytest.approx(1e-4 * 0.7 ** (12 - block))
    assert groups["neck.simfp_2.0.weight"]["lr"] == 1e-4
    assert {"backbone.pos_embed", "neck.simfp_2.1.weight"} <= free
    assert "backbone.blocks.0.attn.rel_pos_h" not in free  # as in detectron2


def test_mask2former_slows_the_encoder_and_spares_its_norms():
    groups, free = without_decay("mask2former_swin_t_coco_panoptic")
    for name in ("norm0.weight", "layers.2.blocks.5.norm1.bias", "patch_embed.norm.weight"):
        assert f"backbone.{name}" in free
        assert groups[f"backbone.{name}"]["lr"] == pytest.approx(1e-5)
    table = "backbone.layers.0.blocks.1.attn.relative_position_bias_table"
    assert table in free
    assert "backbone.layers.0.blocks.1.mlp.fc1.weight" not in free
    assert {"panoptic_head.query_embed.weight", "panoptic_head.level_embed.weight"} <= free
    assert groups["panoptic_head.query_feat.weight"]["lr"] == 1e-4


def test_deformable_detr_slows_its_sampling():
    groups = groups_of("deformable_detr_swin_t_coco")
    offsets = "decoder.layers.5.cross_attn.sampling_offsets.weight"
    assert groups[offsets]["lr"] == pytest.approx(2e-5)


@pytest.mark.parametrize(
    "name, library",
    [
        ("detr_vit_b16_coco", "detr/detr_r50_8xb2-150e_coco.py"),
        (
            "deformable_detr_swin_t_coco",
            "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py",
        ),
        ("dino_swin_t_coco", "dino/dino-4scale_r50_8xb2-12e_coco.py"),
        (
            "mask2former_swin_t_coco_instance",
            "mask2former/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco.py",
        ),
        (
            "mask2former_swin_t_coco_panoptic",
            "mask2former/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic.py",
        ),
    ],
)
def test_heads_and_losses_are_those_of_mmdets_own_recipe(name, library, tmp_path):
    (tmp_path / "library.py").write_text(f"_base_ = ['mmdet::{library}']\n")
    ours, theirs = read_config(name), Config.fromfile(tmp_path / "library.py")
    theirs.model.backbone, theirs.model.neck = ours.model.backbone, ours.model.get("neck")
    if "panoptic_head" in ours.model:
        theirs.model.pop("neck")
    models = build(ours), build(theirs)
    assert str(models[0]) == str(models[1])
    heads = [getattr(m, "bbox_head", None) or m.panoptic_head for m in models]
    for part in ("loss_cls", "loss_bbox", "loss_iou", "loss_mask", "loss_dice", "assigner"):
        parts = [plain(getattr(head, part, None)) for head in heads]
        assert parts[0] == parts[1], part
    for part in ("num_classes", "bg_cls_weight", "class_weight", "num_points"):
        assert getattr(heads[0], part, None) == getattr(heads[1], part, None), part
    assert str(heads[0].test_cfg) == str(heads[1].test_cfg)
    if "dn_cfg" in theirs.model:
        assert ours.model.dn_cfg == theirs.model.dn_cfg


def plain(part: object) -> dict | None:
    """What a loss or an assigner was built with, those inside it included."""
    if part is None:
        return None
    values = {k: v for k, v in vars(part).items() if not k.startswith("_") and k != "training"}
    values = {k: v.shape if isinstance(v, torch.Tensor) else v for k, v in values.items()}
    costs = [plain(cost) for cost in values.pop("match_costs", ())]
    return {"type": type(part).__name__, "costs": costs, **values}


@pytest.mark.parametrize("name", CONFIGS)
def test_recipes_train_and_predict(name, coco, tmp_path):
    if "panoptic" in name and importlib.util.find_spec("panopticapi") is None:
        pytest.skip("panopticapi is not installed; PyPI has no release of it")
    reached = run(name, coco, tmp_path / "work")
    assert reached
    assert all(reached.values()), [key for key, value in reached.items() if not value]


def test_panoptic_model_trains_and_predicts():
    """Without panopticapi, which only loading and scoring need."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData, PixelData

    from tests.configs.recipes import shrunk

    init_default_scope("mmdet")
    cfg = shrunk("mask2former_swin_t_coco_panoptic")
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    size = cfg.model.data_preprocessor.batch_augments[0]["size"]
    masks = torch.zeros(1, *size, dtype=torch.uint8)
    masks[0, 8:24, 8:24] = 1
    sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0)))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[8.0, 8, 24, 24]]), labels=torch.tensor([3]),
        masks=BitmapMasks(masks.numpy(), *size),
    )  # fmt: skip
    # stuff everywhere but on the thing
    sample.gt_sem_seg = PixelData(sem_seg=torch.where(masks[0] > 0, 3, 100)[None])
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    data = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]), training=True)
    losses, _ = model.parse_losses(model(**data, mode="loss"))
    losses.backward()
    assert all(p.grad is not None for p in model.backbone.parameters())
    model.eval()
    with torch.no_grad():
        (predicted,) = model(**data, mode="predict")
    assert predicted.pred_panoptic_seg.sem_seg.shape[-2:] == torch.Size(size)
    assert "pred_instances" in predicted
