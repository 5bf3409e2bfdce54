"""The same train.py and test.py with configs of mmdet and mmseg, as these libraries ship them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vit_backbones  # noqa: F401  (first: it makes mmdet importable)
from tests.cli.command import command, options

FEW = [
    "train_dataloader.batch_size=2",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=False",
    "test_dataloader.num_workers=0",
    "test_dataloader.persistent_workers=False",
]


def shipped(library: str, config: str) -> Path:
    return Path(find_spec(library).submodule_search_locations[0], ".mim", "configs", config)


def square(path: Path) -> None:
    """An image of 64x64 with a white square."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[16:40, 8:32] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def coco(tmp_path) -> Path:
    from mmdet.datasets import CocoDataset

    box, polygon = [8, 16, 24, 24], [8, 16, 32, 16, 32, 40, 8, 40]
    for split in ("train2017", "val2017"):
        images = [dict(id=i, file_name=f"{i}.png", width=64, height=64) for i in (1, 2)]
        annotation = dict(bbox=box, segmentation=[polygon], area=576, iscrowd=0, category_id=1)
        for image in images:
            square(tmp_path / split / image["file_name"])
        file = tmp_path / f"annotations/instances_{split}.json"
        file.parent.mkdir(exist_ok=True)
        annotations = [dict(annotation, id=i, image_id=i) for i in (1, 2)]
        names = CocoDataset.METAINFO["classes"]
        categories = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
        file.write_text(
            json.dumps(dict(images=images, annotations=annotations, categories=categories))
        )
    return tmp_path


def test_masks_are_missed_before_the_run(coco, tmp_path):
    for file in coco.glob("annotations/*.json"):
        file.write_text(file.read_text().replace('"segmentation"', '"outline"'))
    config = shipped("mmdet", "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py")
    status, _, err = command(
        "train", config, "--data-root", coco, "--work-dir", tmp_path / "work",
        *options("model.backbone.init_cfg=None"),
    )  # fmt: skip
    assert (status, err.count("Traceback")) == (2, 0)
    assert "it has no segmentation, and the config's pipeline loads masks" in err


@pytest.fixture
def ade(tmp_path) -> Path:
    labels = np.ones((64, 64), np.uint8)
    labels[16:40, 8:32] = 2
    for split in ("training", "validation"):
        square(tmp_path / f"images/{split}/1.jpg")
        square(tmp_path / f"images/{split}/2.jpg")
        folder = tmp_path / f"annotations/{split}"
        folder.mkdir(parents=True)
        Image.fromarray(labels).save(folder / "1.png")
        Image.fromarray(labels).save(folder / "2.png")
    return tmp_path


def train_and_test(config: Path, data: Path, work: Path, checkpoint: str, *settings: str) -> dict:
    arguments = [config, "--data-root", data, "--work-dir", work]
    status, _, err = command("train", *arguments, *options(*FEW, *settings))
    assert (status, err.count("Traceback")) == (0, 0)
    status, _, err = command(
        "test", config, work / checkpoint, "--data-root", data, "--work-dir", work,
        "--out", work / "scores.json", *options(*FEW, *settings),
    )  # fmt: skip
    assert (status, err.count("Traceback")) == (0, 0)
    return json.loads((work / "scores.json").read_text())


def test_mmdet(coco, tmp_path):
    scores = train_and_test(
        shipped("mmdet", "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"),
        coco,
        tmp_path / "work",
        "epoch_1.pth",
        "model.backbone.init_cfg=None",
        "train_cfg.max_epochs=1",
        "train_pipeline.2.scale=(64,64)",
        "train_dataloader.dataset.pipeline.2.scale=(64,64)",
        "val_dataloader.dataset.pipeline.1.scale=(64,64)",
        "test_dataloader.dataset.pipeline.1.scale=(64,64)",
        "optim_wrapper.optimizer.lr=1e-5",
        "model.train_cfg.rpn_proposal.nms_pre=50",
        "model.test_cfg.rpn.nms_pre=50",
        "model.test_cfg.rcnn.score_thr=0.0",  # untrained, it is sure of nothing
        "model.test_cfg.rcnn.max_per_img=5",
    )
    assert {"coco/bbox_mAP", "coco/segm_mAP"} < set(scores)


def test_mmseg(ade, tmp_path):
    scores = train_and_test(
        shipped("mmseg", "fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py"),
        ade,
        tmp_path / "work",
        "iter_2.pth",
        "model.pretrained=None",
        "norm_cfg.type=BN",
        "model.backbone.norm_cfg.type=BN",
        "model.decode_head.norm_cfg.type=BN",
        "model.auxiliary_head.norm_cfg.type=BN",
        "model.data_preprocessor.size=(64,64)",
        "train_dataloader.dataset.pipeline.2.scale=(64,64)",
        "train_dataloader.dataset.pipeline.3.crop_size=(64,64)",
        "val_dataloader.dataset.pipeline.1.scale=(64,64)",
        "test_dataloader.dataset.pipeline.1.scale=(64,64)",
        "train_cfg.max_iters=2",
        "train_cfg.val_interval=2",
        "default_hooks.checkpoint.interval=2",
    )
    assert {"mIoU", "aAcc"} < set(scores)
