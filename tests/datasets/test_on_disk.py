"""Data that is not where a config looks for it: found out at once, and said in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from vit_backbones import UserError
from vit_backbones.datasets.on_disk import check_data, set_data_root


def config(**dataset) -> Config:
    return Config(dict(train_dataloader=dict(batch_size=1, dataset=dataset)))


def imagenet(root: Path | str, split: str = "train") -> dict:
    return dict(type="ImageNet", data_root=str(root), split=split)


def coco(root: Path | str) -> dict:
    return dict(
        type="CocoDataset",
        data_root=str(root),
        ann_file="annotations/instances_train2017.json",
        data_prefix=dict(img="train2017/"),
    )


def make(root: Path, *files: str) -> None:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def message(cfg: Config) -> str:
    with pytest.raises(UserError) as caught:
        check_data(cfg)
    return str(caught.value)


def test_absent_imagenet(tmp_path):
    text = message(config(**imagenet(tmp_path / "none")))
    assert f"ImageNet is not in {tmp_path / 'none'} (no such folder)" in text
    assert "train/<class>/*.JPEG" in text
    assert "--data-root FOLDER" in text


@pytest.mark.parametrize("files", [["val/n1/a.JPEG"], ["train/a.JPEG"], ["train/n1.txt"]])
def test_imagenet_without_class_folders(tmp_path, files):
    make(tmp_path, *files)
    assert "missing:  train/<class>" in message(config(**imagenet(tmp_path)))


@pytest.mark.parametrize("files", [["train/n1/a.JPEG"], ["train/a.JPEG", "meta/train.txt"]])
def test_present_imagenet(tmp_path, files):
    make(tmp_path, *files)
    check_data(config(**imagenet(tmp_path)))


def test_only_the_parts_of_the_run_are_checked(tmp_path):
    make(tmp_path, "train/n1/a.JPEG")
    cfg = config(**imagenet(tmp_path))
    cfg.val_dataloader = dict(dataset=imagenet(tmp_path, "val"))
    check_data(cfg, ("train",))
    assert "missing:  val/<class>" in message(cfg)


def test_cifar10_archive_folder_or_neither(tmp_path):
    cfg = config(type="mmpretrain.CIFAR10", data_root=str(tmp_path), split="train")
    text = message(cfg)
    assert "cifar-10-python.tar.gz" in text
    assert "nothing is downloaded" in text
    make(tmp_path, "cifar-10-python.tar.gz")
    check_data(cfg)
    (tmp_path / "cifar-10-python.tar.gz").unlink()
    batches = [f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)]
    make(tmp_path, *batches)
    assert "missing:  cifar-10-batches-py/test_batch" in message(cfg)
    make(tmp_path, "cifar-10-batches-py/test_batch")
    check_data(cfg)


def test_coco_needs_annotations_and_images(tmp_path):
    cfg = config(**coco(tmp_path))
    make(tmp_path, "train2017/1.jpg")
    assert "missing:  annotations/instances_train2017.json\n" in message(cfg)
    make(tmp_path, "annotations/instances_train2017.json")
    check_data(cfg)
    (tmp_path / "train2017/1.jpg").unlink()
    assert "missing:  train2017\n" in message(cfg)


def test_a_users_own_data_in_cocos_format(tmp_path):
    """COCO's own layout would not help there."""
    own = dict(ann_file="annotations/mine.json", data_prefix=dict(img="pictures"))
    text = message(config(**{**coco(tmp_path / "x"), **own}))
    assert "missing:  annotations/mine.json, pictures\n" in text
    assert "train2017" not in text


def test_segmentation_needs_images_and_maps(tmp_path):
    prefix = dict(img_path="images/training", seg_map_path="annotations/training")
    cfg = config(type="ADE20KDataset", data_root=str(tmp_path), data_prefix=prefix)
    make(tmp_path, "images/training/1.jpg")
    assert "missing:  annotations/training\n" in message(cfg)


def test_data_sets_inside_wrappers_are_found(tmp_path):
    wrapped = dict(
        type="RepeatDataset", dataset=dict(type="ConcatDataset", datasets=[coco(tmp_path)])
    )
    assert "CocoDataset is not in" in message(config(**wrapped))


@pytest.mark.parametrize(
    "dataset",
    [
        dict(type="vit_backbones.Digits", split="train"),
        {**coco("s3://bucket/coco")},
        {**coco("coco"), "backend_args": dict(backend="petrel")},
    ],
)
def test_what_is_not_on_the_disk_is_not_looked_for(dataset):
    check_data(config(**dataset))


def test_data_root_moves_data_sets_and_their_metrics():
    cfg = config(type="RepeatDataset", dataset=coco("data/coco/"))
    cfg.val_dataloader = dict(dataset=coco("data/coco/"))
    cfg.val_evaluator = [
        dict(type="CocoMetric", ann_file="data/coco/annotations/x.json"),
        dict(type="Other", ann_file="data/coco2/x.json"),
    ]
    set_data_root(cfg, "/mnt/coco")
    assert cfg.train_dataloader.dataset.dataset.data_root == "/mnt/coco"
    assert cfg.val_dataloader.dataset.data_root == "/mnt/coco"
    assert cfg.val_dataloader.dataset.ann_file == "annotations/instances_train2017.json"
    assert cfg.val_evaluator[0].ann_file == "/mnt/coco/annotations/x.json"
    assert cfg.val_evaluator[1].ann_file == "data/coco2/x.json"


def test_data_root_leaves_classes_as_they_are_named(tmp_path):
    """In a config that imports its classes, whose copy in the work folder must be readable."""
    file = tmp_path / "own.py"
    file.write_text(
        "from mmcv.transforms import LoadImageFromFile\n"
        "from mmdet.datasets import CocoDataset\n"
        "train_dataloader = dict(dataset=dict(type=CocoDataset, data_root='data/a',\n"
        "    ann_file='a.json', pipeline=[dict(type=LoadImageFromFile)]))\n"
    )
    cfg = Config.fromfile(file)
    set_data_root(cfg, "/mnt/b")
    cfg.dump(tmp_path / "copy.py")
    again = Config.fromfile(tmp_path / "copy.py").train_dataloader.dataset
    assert (again.data_root, again.ann_file) == ("/mnt/b", "a.json")
    assert "LoadImageFromFile" in str(again.pipeline)


def test_data_root_needs_one_folder_to_replace():
    with pytest.raises(UserError, match="reads no data from a folder"):
        set_data_root(config(type="vit_backbones.Digits", split="train"), "/x")
    two = config(type="ConcatDataset", datasets=[coco("data/a"), coco("data/b")])
    with pytest.raises(UserError, match=r"reads 2 folders \(data/a, data/b\)"):
        set_data_root(two, "/x")
