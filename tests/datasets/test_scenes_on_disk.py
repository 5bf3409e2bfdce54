"""Digit scenes as files: made once, whole or not at all, and read by mmdet and mmseg."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from vit_backbones import UserError
from vit_backbones.cli.config import read_config
from vit_backbones.datasets import scenes_on_disk
from vit_backbones.datasets.on_disk import check_data
from vit_backbones.datasets.scenes import CLASSES, compose_scene
from vit_backbones.datasets.scenes_on_disk import ensure_scenes, run_lengths

FEW = dict(train=3, val=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "digit_scenes"
    ensure_scenes(root, **FEW)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_what_is_written_is_what_was_composed(root):
    for split, count in FEW.items():
        coco = COCO(root / f"annotations/instances_{split}.json")
        assert [c["name"] for c in coco.cats.values()] == list(CLASSES)
        assert len(coco.imgs) == count == len(list((root / "img_dir" / split).iterdir()))
        for number, image in coco.imgs.items():
            scene = compose_scene(split, number)
            written = np.asarray(Image.open(root / "img_dir" / split / image["file_name"]))
            assert (written == scene.image).all()
            assert (image["height"], image["width"]) == scene.image.shape[:2]
            labels = np.asarray(Image.open(root / "ann_dir" / split / image["file_name"]))
            assert (labels == scene.semantic_map).all()
            annotations = coco.imgToAnns[number]
            assert [coco.cats[a["category_id"]]["name"] for a in annotations] == [
                str(label) for label in scene.labels
            ]
            assert [a["bbox"] for a in annotations] == scene.boxes.tolist()
            for annotation, mask in zip(annotations, scene.masks, strict=True):
                assert (coco.annToMask(annotation) == mask).all()
                assert annotation["area"] == mask.sum()


@pytest.mark.parametrize("mask", [[[0]], [[1]], [[0, 1], [1, 1]], [[1, 0, 1], [1, 0, 0]]])
def test_run_lengths(mask):
    mask = np.array(mask, bool)
    counts = run_lengths(mask)
    assert sum(counts) == mask.size and len(counts) <= mask.size + 1
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    assert (values.reshape(mask.shape[::-1]).T == mask).all()


def test_existing_scenes_stay(root):
    stamps = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    ensure_scenes(root, **FEW)
    ensure_scenes(root)  # any number
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == stamps


def test_the_same_bytes_every_time(root, tmp_path):
    ensure_scenes(tmp_path / "again", **FEW)
    assert contents(tmp_path / "again") == contents(root)


@pytest.mark.parametrize("change", ["version", "counts"])
def test_scenes_of_another_making_are_replaced(root, tmp_path, change, monkeypatch):
    if change == "version":
        monkeypatch.setattr(scenes_on_disk, "VERSION", 0)
        ensure_scenes(tmp_path / "scenes", **FEW)
    else:
        ensure_scenes(tmp_path / "scenes", train=1, val=1)
    monkeypatch.undo()
    ensure_scenes(tmp_path / "scenes", **FEW)
    assert contents(tmp_path / "scenes") == contents(root)
    assert {p.name for p in tmp_path.iterdir()} == {"scenes", ".scenes.lock"}


def test_a_making_that_was_cut_short_starts_anew(root, tmp_path, monkeypatch):
    def fail(split, index, seed):
        if split == "val":
            raise KeyboardInterrupt
        return compose_scene(split, index, seed)

    with monkeypatch.context() as patch:
        patch.setattr(scenes_on_disk, "compose_scene", fail)
        with pytest.raises(KeyboardInterrupt):
            ensure_scenes(tmp_path / "scenes", **FEW)
    assert not (tmp_path / "scenes").exists()
    assert (tmp_path / "scenes.partial/img_dir/train/000000.png").exists()
    ensure_scenes(tmp_path / "scenes", **FEW)
    assert contents(tmp_path / "scenes") == contents(root)
    assert not (tmp_path / "scenes.partial").exists()


def test_two_processes_at_once(root, tmp_path):
    context = multiprocessing.get_context("fork")
    target = dict(target=ensure_scenes, args=(tmp_path / "scenes",), kwargs=FEW)
    processes = [context.Process(**target) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert contents(tmp_path / "scenes") == contents(root)


def test_somebody_elses_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="holds something other than digit scenes"):
        ensure_scenes(tmp_path, **FEW)
    assert (tmp_path / "thesis.tex").read_text() == "x"


@pytest.mark.skipif(os.name != "posix", reason="names a path below a file")
def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot make the digit scenes in .*--data-root"):
        ensure_scenes(tmp_path / "file" / "scenes", **FEW)


@pytest.mark.parametrize("name", ["dino_swin_digits", "upernet_swin_digits"])
def test_a_run_may_start_without_them(name, tmp_path):
    cfg = read_config(name)
    cfg.train_dataloader.dataset.data_root = str(tmp_path / "none")
    check_data(cfg)


def test_mmdet_reads_them_and_scores_a_perfect_prediction_with_1(root):
    import torch
    from mmdet.evaluation import CocoMetric

    from vit_backbones.datasets.digit_scenes_det import DigitScenesDet

    load = [dict(type="mmdet.LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=True)]
    pipeline = [dict(type="LoadImageFromFile"), *load]
    dataset = DigitScenesDet("val", str(root), pipeline=pipeline, test_mode=True)
    metric = CocoMetric(ann_file=f"{root}/annotations/instances_val.json", metric=["bbox", "segm"])
    metric.dataset_meta = dataset.metainfo
    for sample in dataset:
        number, (height, width) = sample["img_id"], sample["img"].shape[:2]
        scene = compose_scene("val", number)
        assert (sample["img"][..., ::-1] == scene.image).all()
        assert (sample["gt_bboxes_labels"] == scene.labels).all()
        assert (sample["gt_masks"].masks == scene.masks).all()
        prediction = dict(
            bboxes=sample["gt_bboxes"].tensor,
            labels=torch.from_numpy(sample["gt_bboxes_labels"]),
            scores=torch.ones(len(scene.labels)),
            masks=torch.from_numpy(scene.masks),
        )
        metric.process(
            {}, [dict(img_id=number, ori_shape=(height, width), pred_instances=prediction)]
        )
    scores = metric.evaluate(len(dataset))
    assert scores["coco/bbox_mAP"] == scores["coco/segm_mAP"] == 1


def test_mmseg_reads_them_and_scores_a_perfect_prediction_with_100(root):
    import torch
    from mmengine.structures import PixelData
    from mmseg.evaluation import IoUMetric
    from mmseg.structures import SegDataSample

    from vit_backbones.datasets.digit_scenes_seg import DigitScenesSeg

    pipeline = [dict(type="LoadImageFromFile"), dict(type="mmseg.LoadAnnotations")]
    dataset = DigitScenesSeg("val", str(root), counts=FEW, pipeline=pipeline)
    assert len(dataset) == FEW["val"]
    metric = IoUMetric(iou_metrics=["mIoU"])
    metric.dataset_meta = dataset.metainfo
    for number, sample in enumerate(dataset):
        labels = compose_scene("val", number).semantic_map
        assert (sample["gt_seg_map"] == labels).all()
        result = SegDataSample()
        result.gt_sem_seg = result.pred_sem_seg = PixelData(data=torch.from_numpy(labels)[None])
        metric.process({}, [result.to_dict()])
    scores = metric.evaluate(len(dataset))
    assert (scores["mIoU"], scores["aAcc"]) == (100, 100)


def test_the_marker_says_what_made_them(root):
    made = json.loads((root / "scenes.json").read_text())
    assert made == dict(version=scenes_on_disk.VERSION, seed=scenes_on_disk.SEED, **FEW)
