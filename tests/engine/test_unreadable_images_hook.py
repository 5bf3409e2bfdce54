"""Damaged images: named, counted, skipped in training, and never silently part of a score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import BaseDataset, Compose
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from tests.engine.toy import assert_same_weights, run, toy_config, toy_runner, train, weights
from vit_backbones import UserError
from vit_backbones.cli.mistakes import explain
from vit_backbones.engine import GuardedPipelinesHook
from vit_backbones.engine.unreadable_images_hook import (
    GIVE_UP_AFTER,
    TolerantLoading,
    make_tolerant,
    nested_datasets,
    read_notes,
)
from vit_backbones.registry import DATASETS

LOAD = dict(type="LoadImageFromFile")


def save_image(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(seed).randint(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def cut(path: Path, part: float = 0.6) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    return path


def ruin(path: Path) -> Path:
    path.write_bytes(b"not an image")
    return path


@pytest.fixture
def images(tmp_path) -> list[Path]:
    """24 images; of these one is cut short, one is text, one is missing."""
    paths = [save_image(tmp_path / "data" / f"{i:02}.jpg", i) for i in range(24)]
    cut(paths[3])
    ruin(paths[10])
    paths[17].unlink()
    return paths


@DATASETS.register_module(force=True)
class ImageFiles(BaseDataset):
    def __init__(self, files: list[str], **kwargs: Any) -> None:
        self.files = files
        super().__init__(pipeline=[LOAD, to_features], serialize_data=False, **kwargs)

    def load_data_list(self) -> list[dict]:
        return [dict(img_path=str(path), label=i % 2) for i, path in enumerate(self.files)]


def to_features(sample: dict) -> dict:
    features = np.resize(sample["img"].mean(axis=(0, 1)), 8) / 255 + np.random.rand(8)
    return dict(x=features.astype(np.float32), label=sample["label"])


def image_config(work_dir: Path, images: list[Path], workers: int = 0, **changes: Any) -> Any:
    cfg = toy_config(work_dir, workers=workers, **changes)
    files = [str(path) for path in images]
    cfg.train_dataloader.dataset = dict(type="vit_backbones.ImageFiles", files=files)
    cfg.default_hooks.unreadable = dict(type="vit_backbones.UnreadableImagesHook")
    return cfg


def test_an_image_of_another_size_than_annotated_is_none(tmp_path):
    """mmdet would put the boxes where nothing is; detectron2 refuses such an image too."""
    pixels = np.zeros((64, 96, 3), np.uint8)  # turned by 90 degrees when it is loaded
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    notes = tmp_path / "unreadable_train_images.txt"
    loading = TolerantLoading(LoadImageFromFile(), notes, blank=False)
    sample = dict(img_path=str(tmp_path / "turned.jpg"))
    assert loading(dict(sample, height=96, width=64))["img"].shape == (96, 64, 3)
    assert loading(dict(sample))["img"].shape == (96, 64, 3)
    assert loading(dict(sample, height=97, width=64)) is not None  # as good as right
    tested = TolerantLoading(LoadImageFromFile(), notes, blank=True)
    assert tested(dict(sample, height=64, width=96))["img"].shape == (96, 64, 3)
    assert not notes.exists()
    assert loading(dict(sample, height=64, width=96)) is None
    (reason,) = read_notes(notes).values()
    assert reason == (
        "has 64 x 96 pixels, its annotation is for 96 x 64 (turned by its EXIF orientation?)"
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_training_skips_names_and_counts(tmp_path, images, capfd, workers):
    run(image_config(tmp_path / "run", images, workers, epochs=2))
    out = capfd.readouterr().out
    assert "3 of 24 training images could not be used and were skipped" in out
    for name in ("03.jpg: cannot be decoded", "10.jpg: cannot", "17.jpg: No such file"):
        assert f"{tmp_path / 'data'}/{name}" in out
    notes = read_notes(tmp_path / "run" / "unreadable_train_images.txt")
    assert sorted(Path(path).name for path in notes) == ["03.jpg", "10.jpg", "17.jpg"]


class SwitchPipeline(Hook):
    """As mmdet's PipelineSwitchHook and mmpretrain's SwitchRecipeHook do."""

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == 1:
            loader = runner.train_dataloader
            loader.dataset.pipeline = Compose([LOAD, to_features])
            loader._iterator = None


@pytest.mark.parametrize("workers", [0, 2])
def test_training_skips_after_a_change_of_the_pipeline_too(tmp_path, images, capfd, workers):
    runner = toy_runner(image_config(tmp_path / "run", images, workers, epochs=2))
    for hook in (SwitchPipeline(), GuardedPipelinesHook()):
        runner.register_hook(hook)
    train(runner)
    assert "3 of 24 training images could not be used" in capfd.readouterr().out


def test_a_sound_data_set_is_not_mentioned(tmp_path, images, capfd):
    run(image_config(tmp_path / "run", images[4:9], epochs=1))
    assert "could not be used" not in capfd.readouterr().out
    assert not list((tmp_path / "run").glob("unreadable*"))


def test_resume_with_damaged_images_is_exact_and_remembers_them(tmp_path, images, capfd):
    whole = run(image_config(tmp_path / "whole", images, epochs=3))
    run(image_config(tmp_path / "parts", images, workers=2, epochs=3), epoch=2)
    sound = [save_image(path, i) for i, path in enumerate(images)]  # repaired meanwhile: still said
    for path in (images[3], images[10]):
        ruin(path)
    capfd.readouterr()
    resumed = run(image_config(tmp_path / "parts", sound, workers=2, epochs=3, resume=True))
    assert "3 of 24 training images" in capfd.readouterr().out
    assert resumed.epoch == whole.epoch == 3


def test_resume_draws_the_same_substitutes(tmp_path, images):
    whole = run(image_config(tmp_path / "whole", images, epochs=3))
    run(image_config(tmp_path / "parts", images, workers=2, epochs=3), epoch=2)
    resumed = run(image_config(tmp_path / "parts", images, workers=1, epochs=3, resume=True))
    assert_same_weights(weights(whole), weights(resumed))


def test_validation_goes_on_and_says_so(tmp_path, images, capfd):
    cfg = image_config(tmp_path, images, epochs=2)
    cfg.val_dataloader.dataset = dict(**cfg.train_dataloader.dataset, test_mode=True)
    runner = run(cfg)
    out = capfd.readouterr().out
    assert "3 of 24 validation images could not be read and were scored as blank images" in out
    assert runner.epoch == 2


def test_test_names_all_and_gives_no_score(tmp_path, images, capfd):
    runner = for_test(tmp_path / "run", images)
    with pytest.raises(UserError, match="3 of 24 test images could not be read") as error:
        runner.test()
    for name in ("03.jpg", "10.jpg", "17.jpg"):
        assert name in str(error.value)
    assert "accuracy/top1" not in capfd.readouterr().out
    repaired = [save_image(path, i) for i, path in enumerate(images)]
    assert "accuracy/top1" in for_test(tmp_path / "run", repaired).test()


def for_test(work_dir: Path, images: list[Path]) -> Runner:
    cfg = image_config(work_dir, images)
    cfg.test_dataloader = dict(
        batch_size=5,
        num_workers=2,
        dataset=dict(**cfg.train_dataloader.dataset, test_mode=True),
        sampler=dict(type="DefaultSampler", shuffle=False),
        collate_fn=dict(type="default_collate"),
    )
    cfg.test_evaluator, cfg.test_cfg = cfg.val_evaluator, {}
    for name in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler"):
        cfg.pop(name)
    cfg.default_hooks.pop("seed")
    return toy_runner(cfg)


def test_when_nothing_can_be_read_it_is_not_the_images(tmp_path):
    missing = [tmp_path / "nowhere" / f"{i}.jpg" for i in range(30)]
    with pytest.raises(UserError, match=rf"{GIVE_UP_AFTER} images in a row .*data root"):
        run(image_config(tmp_path / "run", missing))
    with pytest.raises(UserError) as error:  # a worker's error comes wrapped in its traceback
        run(image_config(tmp_path / "run", missing, workers=1))
    assert explain(error.value).startswith(f"{GIVE_UP_AFTER} images in a row could not be used")


@pytest.mark.parametrize("library", ["mmpretrain", "mmdet", "mmseg"])
def test_every_library_skips_in_training_and_blanks_in_evaluation(tmp_path, library):
    dataset = dict(mmpretrain=classification, mmdet=detection, mmseg=segmentation)[library]
    for test_mode, mode in ((False, "train"), (True, "val")):
        built = dataset(tmp_path, test_mode)
        notes = tmp_path / f"unreadable_{mode}_images.txt"
        for part in nested_datasets(built):
            make_tolerant(part, notes)
        sample = built[0]  # the first image is damaged
        sample = sample if isinstance(sample, dict) else sample[0]
        assert sample["ori_shape"] == (40, 30)
        assert bool(sample["img"].any()) == (not test_mode)
        assert [Path(path).name for path in read_notes(notes)] == ["0.png"]


def png_images(folder: Path) -> list[Path]:
    paths = [save_image(folder / "images" / f"{i}.png", i) for i in range(3)]
    ruin(paths[0])
    return paths


def classification(folder: Path, test_mode: bool) -> Any:
    from mmengine.dataset import RepeatDataset
    from mmpretrain.datasets import CustomDataset

    names = [path.name for path in png_images(folder)]
    (folder / "list.txt").write_text("".join(f"{name} 0\n" for name in names))
    inner = CustomDataset(
        ann_file=str(folder / "list.txt"),
        data_prefix=str(folder / "images"),
        pipeline=[LOAD],
        test_mode=test_mode,
        metainfo=dict(classes=["a"]),
    )
    inner.pipeline.transforms.append(with_size)
    return inner if test_mode else RepeatDataset(inner, times=2)


def with_size(results: dict) -> dict:
    return {**results, "ori_shape": (40, 30)}  # a blank image of unknown size is 224 x 224


def detection(folder: Path, test_mode: bool) -> Any:
    from mmdet.datasets import CocoDataset

    paths = png_images(folder)
    images = [dict(id=i, file_name=p.name, height=40, width=30) for i, p in enumerate(paths)]
    box = dict(category_id=1, bbox=[2, 2, 9, 9], area=81, iscrowd=0)
    boxes = [dict(box, id=i, image_id=i) for i in range(3)]
    coco = dict(images=images, annotations=boxes, categories=[dict(id=1, name="a")])
    (folder / "coco.json").write_text(json.dumps(coco))
    return CocoDataset(
        ann_file=str(folder / "coco.json"),
        data_prefix=dict(img=str(folder / "images")),
        metainfo=dict(classes=("a",)),
        pipeline=[LOAD],
        test_mode=test_mode,
    )


def segmentation(folder: Path, test_mode: bool) -> Any:
    from mmseg.datasets import BaseSegDataset

    for path in png_images(folder):
        (folder / "labels").mkdir(exist_ok=True)
        Image.fromarray(np.zeros((40, 30), dtype=np.uint8)).save(folder / "labels" / path.name)
    return BaseSegDataset(
        data_root=str(folder),
        data_prefix=dict(img_path="images", seg_map_path="labels"),
        img_suffix=".png",
        metainfo=dict(classes=("a",)),
        pipeline=[LOAD],
        test_mode=test_mode,
    )
