"""Running a detection or segmentation recipe as it is written, on made-up data, in seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner
from PIL import Image

import vit_backbones
from tests.cli.command import command
from vit_backbones.cli.config import SHIPPED, read_config

SCALE = 12  # by which images and crops are smaller than the recipe's
HEIGHT, WIDTH = 60, 80
FEW = dict(  # of whatever makes a model deep or wide, wherever a config says it
    num_layers=1,
    num_convs=1,
    feedforward_channels=32,
    fc_out_channels=32,
    conv_out_channels=32,
    num_queries=10,
    num_dn_queries=4,
    num_points=64,
    num=8,  # of sampled boxes
    nms_pre=50,
    max_per_img=5,
    max_per_image=5,
    score_thr=0.0,  # untrained, it is sure of nothing
    num_workers=0,
    persistent_workers=False,
)
NARROW = 32  # width of the encoder, of its first stage


def recipes(suffix: str) -> list[str]:
    """Names of the shipped recipes whose name holds ``suffix``."""
    return sorted(path.stem for path in SHIPPED[-1].glob(f"*{suffix}*.py"))


def make_coco(root: Path) -> Path:
    """A folder laid out as COCO 2017, with two images per split: a box, its mask, a panoptic map.

    Red is the segment of the one thing (id 255 in panoptic files), the rest is stuff.
    """
    from mmdet.datasets import CocoDataset, CocoPanopticDataset

    names = CocoDataset.METAINFO["classes"]
    kinds = CocoPanopticDataset.METAINFO
    panoptic_names = [*kinds["thing_classes"], *kinds["stuff_classes"]]
    box, polygon = [8, 16, 32, 24], [8, 16, 40, 16, 40, 40, 8, 40]
    for split in ("train2017", "val2017"):
        images = [dict(id=i, file_name=f"{i}.jpg", width=WIDTH, height=HEIGHT) for i in (1, 2)]
        for image in images:
            pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            pixels[16:40, 8:40] = 255
            save(root / split / image["file_name"], pixels)
            segments = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            segments[..., 0] = 1
            segments[16:40, 8:40, 0] = 255
            save(root / f"annotations/panoptic_{split}/{image['id']}.png", segments)
        area = dict(area=box[2] * box[3], bbox=box, iscrowd=0, category_id=1)
        stuff = dict(area=1, bbox=[0, 0, WIDTH, HEIGHT], iscrowd=0, category_id=133, id=1)
        instances = [dict(area, id=i, image_id=i, segmentation=[polygon]) for i in (1, 2)]
        panoptic = [
            dict(image_id=i, file_name=f"{i}.png", segments_info=[dict(area, id=255), stuff])
            for i in (1, 2)
        ]
        write_json(root / f"annotations/instances_{split}.json", images, instances, names)
        write_json(
            root / f"annotations/panoptic_{split}.json", images, panoptic, panoptic_names, 80
        )
    return root


def make_ade(root: Path) -> Path:
    """A folder laid out as ADE20K, with two images and label maps of two classes per split."""
    labels = np.ones((HEIGHT, WIDTH), np.uint8)
    labels[16:40, 8:40] = 150
    for split in ("training", "validation"):
        for i in (1, 2):
            pixels = np.random.RandomState(i).randint(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
            save(root / f"images/{split}/{i}.jpg", pixels)
            save(root / f"annotations/{split}/{i}.png", labels)
    return root


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_json(path: Path, images: list, annotations: list, names: list, things: int = 0) -> None:
    categories = [
        dict(id=i, name=name, isthing=int(i <= things)) for i, name in enumerate(names, 1)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))


def run(name: str, data: Path, work: Path) -> dict[str, bool]:
    """Train ``name``, shrunk, for one iteration and validate it.

    It starts, as with ``--pretrained``, from a file of the encoder's weights.

    Returns:
        Name of each trained parameter of the encoder -> whether a gradient reached it.
    """
    cfg = shrunk(name)
    work.mkdir(exist_ok=True)
    cfg.dump(work / "recipe.py")
    encoder = dict(cfg.model.backbone, init_cfg=None)
    encoder.pop("out_indices", None)
    torch.manual_seed(0)
    torch.save(MODELS.build(encoder).state_dict(), work / "encoder.pth")
    result = command(
        "train", work / "recipe.py", "--data-root", data, "--work-dir", work / "run",
        "--pretrained", work / "encoder.pth", "--seed", 0,
    )  # fmt: skip
    assert (result.status, result.err.count("Traceback")) == (0, 0), result.err
    assert "Best " in result.out  # a score of the recipe's own metric: it predicted
    return RecordGradients.reached


@HOOKS.register_module(force=True)
class RecordGradients(Hook):
    """Notes which parameters of the backbone a gradient reaches."""

    reached: ClassVar[dict[str, bool]] = {}

    def before_train(self, runner: Runner) -> None:
        self.reached.clear()
        for name, parameter in runner.model.backbone.named_parameters():
            if parameter.requires_grad:
                self.reached[name] = False
                parameter.register_hook(partial(self._note, name))

    def _note(self, name: str, gradient: torch.Tensor) -> None:
        self.reached[name] |= bool(gradient.any())


def shrunk(name: str) -> Config:
    """The recipe with a narrow encoder of a block per stage or output, the rest by `shrink`."""
    cfg = read_config(name)
    shrink(cfg._cfg_dict)
    backbone = cfg.model.backbone
    width = vit_backbones.build_backbone(backbone.arch).embed_dims
    narrow(cfg.model, width)
    backbone.embed_dims = NARROW
    backbone.drop_path_rate = 0.0  # which might drop a block from the whole batch
    if backbone.type == "vit_backbones.VisionTransformer":
        outputs = len(backbone.get("out_indices", [-1]))
        backbone.update(depth=outputs, num_heads=2, img_size=64)
        backbone.pop("out_indices", None)
        if outputs > 1:
            backbone.out_indices = list(range(outputs))
    else:
        backbone.update(depths=(1, 1, 1, 1), img_size=64)
    cfg.train_dataloader.batch_size = 2
    by_epoch = cfg.train_cfg.by_epoch
    for key in ("max_epochs", "max_iters"):
        cfg.train_cfg.pop(key, None)
    cfg.train_cfg.update({"max_epochs" if by_epoch else "max_iters": 1, "val_interval": 1})
    cfg.default_hooks.checkpoint.interval = 1
    cfg.default_hooks.gradients = dict(type="RecordGradients")
    cfg.experiment_name = f"{name}_{uuid4().hex[:8]}"
    return cfg


def shrink(node: Any) -> None:
    """Make what follows the encoder shallow and the images small, in place."""
    for key, value in list(node.items() if isinstance(node, Mapping) else enumerate(node)):
        if key in FEW and not isinstance(value, Mapping | list):
            node[key] = FEW[key]
        elif key in ("scale", "scales", "crop_size", "size", "max_size", "stride"):
            node[key] = smaller(value)
        elif isinstance(value, Mapping | list) and key != "anchor_generator":
            shrink(value)


def smaller(size: Any) -> Any:
    if isinstance(size, list | tuple):
        return type(size)(smaller(part) for part in size)
    return max(size // SCALE, 32)


def narrow(node: Any, width: int) -> None:
    """Set what takes the encoder's widths, a multiple of ``width`` each, to those of ``NARROW``."""
    widths = {width * 2**i: NARROW * 2**i for i in range(4)}
    for key, value in list(node.items() if isinstance(node, Mapping) else enumerate(node)):
        if key in ("in_channels", "channels", "embed_dim", "embed_dims"):
            several = isinstance(value, list)
            new = [widths.get(v, v) for v in (value if several else [value])]
            node[key] = new if several else new[0]
        elif key == "num_heads" and value == 12:  # Segmenter's
            node[key] = 2
        elif isinstance(value, Mapping | list):
            narrow(value, width)
