"""Small encoders, small heads and made-up batches, so that any shipped config takes a step soon."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from vit_backbones import swap_backbone
from vit_backbones.cli.config import read_config

HEIGHT, WIDTH = 64, 96
# preset -> what makes a tiny encoder of its kind
ENCODERS = {
    "vit_b16": dict(embed_dims=32, depth=4, num_heads=2),
    "swin_t": dict(embed_dims=16, depths=(2, 1, 2, 1), num_heads=(1, 2, 4, 8), window_size=4),
    "mvitv2_t": dict(embed_dims=16, depths=(1, 1, 2, 1), img_size=64),
}
# settings of heads by their names, wherever they are, with small values
SMALL = dict(
    num_layers=1,
    feedforward_channels=32,
    num_queries=10,
    num_proposals=10,
    num_points=50,
    num_dn_queries=5,
    nms_pre=50,
    max_per_img=5,
    stacked_convs=1,
    filter_thr=0.0,
    score_thr=0.0,  # untrained, a model is sure of nothing
    mask_thr_binary=0.0,
)


def shipped(name: str) -> Config:
    """A config of a library with small heads, for a CPU."""
    cfg = read_config(name)
    _shrink(cfg.model)
    cfg.model.pop("pretrained", None)
    if cfg.model.type == "DDQDETR":  # its first decoder layer selects no queries
        cfg.model.decoder.num_layers = 2
    wrapper = cfg.optim_wrapper
    if wrapper.get("type") == "AmpOptimWrapper":
        cfg.optim_wrapper = {
            k: v for k, v in wrapper.items() if k not in ("type", "loss_scale", "dtype")
        }
    if cfg.default_scope == "mmseg":
        for preprocessor in (cfg.model.data_preprocessor, cfg.get("data_preprocessor", {})):
            preprocessor["size"] = (64, 64)
        if "crop_size" in cfg.model.test_cfg:
            cfg.model.test_cfg.update(crop_size=(64, 64), stride=(32, 32))
    return cfg


def _shrink(node: Any, path: tuple = ()) -> None:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key == "norm_cfg" and value and "SyncBN" in value["type"]:
            node[key] = dict(type="BN", requires_grad=True)
        elif key == "batch_augments":
            node[key] = None  # they pad to 1024 pixels
        elif isinstance(value, dict | list | tuple) and key != "backbone":
            _shrink(value, (*path, key))
        elif (key, value) == ("feat_channels", 512):  # SOLOv2's
            node[key] = 64
        elif key in SMALL and "backbone" not in path:
            node[key] = min(value, SMALL[key])


def swapped(name: str, encoder: str, **overrides: Any) -> Config:
    cfg = shipped(name)
    swap_backbone(cfg, encoder, **ENCODERS[encoder] | overrides)
    return cfg


def build(cfg: Config) -> nn.Module:
    __import__(f"{cfg.default_scope}.models")
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        if "data_preprocessor" in cfg:
            cfg.model.setdefault("data_preprocessor", cfg.data_preprocessor)
        model = MODELS.build(cfg.model)
        model.init_weights()
    for parameter in model.parameters():  # a head that starts at zero passes no gradient on
        if parameter.ndim > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return model


def batch(cfg: Config) -> dict:
    """Two images with two objects each."""
    library = cfg.default_scope
    samples = {"mmdet": detection, "mmseg": segmentation, "mmpretrain": classification}[library]
    generator = torch.Generator().manual_seed(0)
    side = (HEIGHT, WIDTH) if library == "mmdet" else (64, 64)
    images = [
        torch.randint(0, 256, (3, *side), dtype=torch.uint8, generator=generator) for _ in range(2)
    ]
    inputs = torch.stack(images) if library == "mmpretrain" else images
    return {"inputs": inputs, "data_samples": [samples(cfg) for _ in range(2)]}


def detection(cfg: Config):
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    shape = {f"{kind}_shape": (HEIGHT, WIDTH) for kind in ("img", "ori", "pad", "batch_input")}
    sample = DetDataSample(metainfo=dict(**shape, scale_factor=(1.0, 1.0)))
    masks = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    masks[0, 5:40, 5:40] = masks[1, 20:60, 30:90] = 1
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[5.0, 5, 40, 40], [30, 20, 90, 60]]),
        labels=torch.tensor([1, 5]),
    )
    if re.search("with_mask=True|LoadPanopticAnnotations", cfg.pretty_text):
        sample.gt_instances.masks = BitmapMasks(masks, HEIGHT, WIDTH)
    stuff = torch.full((1, HEIGHT, WIDTH), 100)
    stuff[:, :20] = 110
    sample.gt_sem_seg = PixelData(sem_seg=stuff)
    return sample


def segmentation(cfg: Config):
    from mmseg.structures import SegDataSample

    shape = {f"{kind}_shape": (64, 64) for kind in ("img", "ori", "pad")}
    sample = SegDataSample(metainfo=shape)
    labels = torch.zeros(1, 64, 64, dtype=torch.long)
    labels[:, 10:40, 10:40] = 1
    sample.gt_sem_seg = PixelData(data=labels)
    return sample


def classification(cfg: Config):
    from mmpretrain.structures import DataSample

    return DataSample(metainfo=dict(img_shape=(64, 64), num_classes=1000)).set_gt_label(3)


def train_step(cfg: Config, model: nn.Module, data: dict) -> tuple[Tensor, dict[str, Tensor]]:
    """One step with the config's own optimizer; the loss and the gradients of the backbone."""
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    model.train()
    with wrapper.optim_context(model):
        losses = model(**model.data_preprocessor(data, training=True), mode="loss")
    loss, _ = model.parse_losses(losses)
    wrapper.backward(loss)
    encoder = getattr(model, "detector", model).backbone
    gradients = {name: p.grad for name, p in encoder.named_parameters() if p.requires_grad}
    wrapper.step()
    return loss, gradients


def predict(model: nn.Module, data: dict) -> list:
    model.eval()
    with torch.no_grad():
        return model(**model.data_preprocessor(data), mode="predict")
