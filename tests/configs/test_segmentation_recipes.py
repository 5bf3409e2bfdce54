"""The recipes for ADE20K: their numbers, and that each trains, as test_detection_recipes.py."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

import vit_backbones  # noqa: F401  (first: it makes mmdet importable)
from tests.configs.recipes import make_ade, recipes, run
from vit_backbones.cli.config import read_config

CONFIGS = recipes("_ade20k")
SWIN_T, MAE = "timm/swin_tiny_patch4_window7_224.ms_in1k", "timm/vit_base_patch16_224.mae"
AUGREG = "timm/vit_base_patch16_384.augreg_in21k_ft_in1k"
# name: parameters in millions; weights to start from; optimizer, learning rate, decay; batch;
# stochastic depth; power of the schedule; mean of the images
PUBLISHED = {
    "upernet_swin_t_ade20k": (59.9, SWIN_T, "AdamW", 6e-5, 0.01, 16, 0.3, 1.0, 123.675),
    "upernet_vit_b16_ade20k": (162.7, MAE, "AdamW", 1e-4, 0.05, 16, 0.1, 1.0, 123.675),
    "segmenter_vit_b16_ade20k": (102.5, AUGREG, "SGD", 1e-3, 0.0, 8, 0.1, 0.9, 127.5),
    "mask2former_swin_t_ade20k": (47.4, SWIN_T, "AdamW", 1e-4, 0.05, 16, 0.3, 0.9, 123.675),
}


@pytest.fixture(scope="module")
def ade(tmp_path_factory):
    return make_ade(tmp_path_factory.mktemp("ade"))


def test_every_recipe_is_in_the_table():
    assert sorted(PUBLISHED) == CONFIGS


def build(cfg: Config):
    init_default_scope("mmseg")
    import mmdet.models  # noqa: F401
    import mmseg.models  # noqa: F401  (they register)

    cfg.model.backbone.init_cfg = None
    return MODELS.build(cfg.model)


def param_groups(name: str) -> dict[str, dict]:
    """Parameter name -> its group in the recipe's optimizer."""
    model = build(cfg := read_config(name))
    wrapper = Config(dict(cfg.optim_wrapper, type="OptimWrapper"))
    optimizer = build_optim_wrapper(model, wrapper._cfg_dict).optimizer
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(p)]: dict(g, size=p.numel()) for g in optimizer.param_groups for p in g["params"]
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_recipes_are_as_published(name):
    cfg = read_config(name)
    size, weights, kind, lr, decay, batch, drop_path, power, mean = PUBLISHED[name]
    assert cfg.model.backbone.init_cfg == dict(type="Pretrained", checkpoint=weights)
    assert cfg.model.backbone.drop_path_rate == drop_path
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == (kind, lr, decay)
    assert (cfg.train_cfg.by_epoch, cfg.train_cfg.max_iters) == (False, 160000)
    schedule = cfg.param_scheduler[-1]
    assert (schedule.type, schedule.power, schedule.end) == ("PolyLR", power, 160000)
    assert schedule.by_epoch is False
    assert cfg.auto_scale_lr.base_batch_size == batch == 8 * cfg.train_dataloader.batch_size
    assert cfg.model.data_preprocessor.mean[0] == mean  # of the weights'
    assert cfg.model.data_preprocessor.size == (512, 512)
    assert cfg.model.decode_head.num_classes == 150

    groups = param_groups(name)
    assert sum(group["size"] for group in groups.values()) / 1e6 == pytest.approx(size, abs=0.06)
    free = {key for key, group in groups.items() if group["weight_decay"] == 0}
    if decay:
        assert any(key.startswith("backbone.") and "norm" in key for key in free)
        assert "backbone.patch_embed.proj.weight" not in free
    if weights == SWIN_T:
        assert "backbone.layers.0.blocks.0.attn.relative_position_bias_table" in free
    first, head = groups["backbone.patch_embed.proj.weight"]["lr"], lr
    if name == "mask2former_swin_t_ade20k":
        head, lr = lr, lr * 0.1
        assert "decode_head.query_feat.weight" in free
    elif name == "upernet_vit_b16_ade20k":
        lr *= 0.65**13
        assert groups["backbone.blocks.11.attn.qkv.weight"]["lr"] == pytest.approx(head * 0.65)
        assert {"backbone.pos_embed", "backbone.cls_token"} <= free
        assert "backbone.blocks.0.attn.qkv.bias" in free
    elif name == "segmenter_vit_b16_ade20k":  # segm/config.yml; timm's "sgd"
        dropped = [cfg.model.decode_head[f"{part}drop_rate"] for part in ("", "attn_")]
        assert (dropped, cfg.model.decode_head.drop_path_rate) == ([0.1, 0.1], 0.0)
        assert (cfg.model.test_cfg.mode, cfg.model.test_cfg.stride) == ("slide", (512, 512))
        assert optimizer.nesterov
    assert first == pytest.approx(lr)
    for key, group in groups.items():
        if not key.startswith("backbone."):
            assert group["lr"] == pytest.approx(head), key


@pytest.mark.parametrize("name", CONFIGS)
def test_recipes_train_and_predict(name, ade, tmp_path):
    reached = run(name, ade, tmp_path / "work")
    assert reached
    assert all(reached.values()), [key for key, value in reached.items() if not value]
