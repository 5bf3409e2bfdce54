"""The small detectors and segmenters on digit scenes: each starts from its classifier and trains.

How well they do after the whole training is in the README; here they train for two steps.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

from tests.cli.command import command, options
from vit_backbones.cli.config import read_config
from vit_backbones.datasets.scenes_on_disk import ensure_scenes

CLASSIFIERS = {
    "dino_swin_digits": "swin_digits",
    "detr_vit_digits": "vit_many_digits",
    "mask_rcnn_vit_digits": "vit_rope_digits",
    "mask2former_mvit_digits": "mvit_digits",
    "upernet_swin_digits": "swin_large_digits",
}
SCORES = {
    "dino_swin_digits": "coco/bbox_mAP",
    "detr_vit_digits": "coco/bbox_mAP",
    "mask_rcnn_vit_digits": "coco/segm_mAP",
    "mask2former_mvit_digits": "coco/segm_mAP",
    "upernet_swin_digits": "mIoU",
}
SHORT = [
    "train_cfg.max_epochs=1",
    "train_cfg.val_interval=1",
    "train_dataloader.batch_size=2",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=False",
]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "digit_scenes"
    ensure_scenes(root, train=4, val=2)
    return root


def classifier_weights(classifier: str, folder: Path) -> Path:
    """What a run of the classifier's config leaves: its untrained weights as best checkpoint."""
    backbone = read_config(classifier).model.backbone
    backbone.init_cfg = None
    weights = MODELS.build(backbone).state_dict()
    file = folder / "best_accuracy_top1_epoch_9.pth"
    folder.mkdir()
    torch.save(dict(state_dict={f"backbone.{k}": v for k, v in weights.items()}), file)
    return file


def is_upstream_mmdet() -> bool:
    try:
        return bool(metadata.version("mmdet"))
    except metadata.PackageNotFoundError:  # onedl-mmdetection
        return False


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_it_starts_from_the_classifier_and_trains(name, scenes, tmp_path):
    if name == "dino_swin_digits" and is_upstream_mmdet():
        pytest.skip("mmdet 3.3.0 has DINO at a width of 256 only")
    weights = classifier_weights(CLASSIFIERS[name], tmp_path / "classifier")
    result = command(
        "train", name, "--data-root", scenes, "--work-dir", tmp_path / "run", "--seed", 0,
        *options(*SHORT, f"model.backbone.init_cfg.checkpoint={weights.parent}",
                 "optim_wrapper.optimizer.lr=0.0"),
    )  # fmt: skip
    assert (result.status, result.err.count("Traceback")) == (0, 0), result.err
    checkpoint = torch.load(tmp_path / "run/epoch_1.pth", weights_only=True)
    (row,) = checkpoint["message_hub"]["runtime_info"]["history"]
    assert row["iter"] == 2 and 0 < row["loss"] < 1e4
    assert SCORES[name] in row
    start = torch.load(weights, weights_only=True)["state_dict"]
    unchanged = {
        key
        for key, value in start.items()
        if (own := checkpoint["state_dict"].get(key)) is not None
        and own.shape == value.shape
        and torch.allclose(own, value, atol=1e-4)  # the schedule ends at a rate of 1e-6, not 0
    }
    # all but what is resized, and the last norm, which is for another use
    changed = [key.removeprefix("backbone.") for key in sorted(set(start) - unchanged)]
    assert all(
        key.startswith(("norm", "patch_embed.proj.weight", "pos_embed")) or "rel_pos" in key
        for key in changed
    ), changed


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_without_the_classifier_it_says_how_to_train_it(name, scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command("train", name, "--data-root", scenes, *options(*SHORT))
    assert (result.status, result.out.count("Traceback")) == (2, 0)
    assert f"tools/train.py configs/{CLASSIFIERS[name]}.py" in result.err.replace("\n", " ")
    assert not (tmp_path / "work_dirs").exists()


def test_encoders_are_those_of_the_classifiers():
    """But for the patch, in most: twice as large for digits twice as large."""
    for name, classifier in CLASSIFIERS.items():
        own, run = read_config(name).model.backbone, read_config(classifier)
        other = run.model.backbone
        keys = ("type", "arch", "embed_dims", "depths", "num_heads", "mlp_ratio", "kv_stride")
        for key in (*keys, "position", "attention"):
            assert own.get(key) == other.get(key)
        key = "patch_stride" if "mvit" in name else "patch_size"
        assert own[key] == (1 if name == "upernet_swin_digits" else 2) * other[key]
        best, last = f"work_dirs/{classifier}", f"epoch_{run.train_cfg.max_epochs}.pth"
        assert own.init_cfg.type == "Pretrained"
        assert own.init_cfg.checkpoint in (best, f"{best}/{last}")


def test_digits_are_not_mirrored():
    for name in CLASSIFIERS:
        assert "Flip" not in str(read_config(name).train_dataloader)
