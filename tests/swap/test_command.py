"""tools/train.py CONFIG --backbone NAME."""

from __future__ import annotations

import json
import re

import pytest
import torch

from tests.cli.command import command, options
from tests.cli.test_other_libraries import FEW, coco  # noqa: F401  (a fixture)
from vit_backbones import build_backbone

MASK_RCNN = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco"
TINY = ["embed_dims=16", "depths=(1,1,1,1)", "num_heads=(1,1,2,2)", "window_size=4"]


def test_settings_of_the_encoder_are_part_of_the_swap(tmp_path):
    """DINO with five scales."""
    status, out, _ = command(
        "train", "mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py", "--backbone", "swin_l",
        "--work-dir", tmp_path, *options("model.backbone.out_indices=(0,1,2,3)"),
    )  # fmt: skip
    assert status == 2  # for there is no data
    assert re.search(r"model.num_feature_levels +\(none\) -> 5", out)


def test_without_data_it_says_what_changed_and_what_is_missing(tmp_path):
    status, out, err = command(
        "train", "mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py", "--backbone", "swin_t",
        "--work-dir", tmp_path,
    )  # fmt: skip
    assert status == 2
    assert re.search(r"model.neck.in_channels +\[512, 1024, 2048\] -> \[192, 384, 768\]", out)
    assert "data/coco" in err and "--data-root" in err and "Traceback" not in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--backbone", "swin_tt"], "no preset 'swin_tt', did you mean 'swin_t'"),
        (["--backbone", "swin_t", "--backbone-checkpoint", "no.pth"], "no.pth does not exist"),
    ],
)
def test_mistakes_end_with_a_message(arguments, message, tmp_path):
    status, _, err = command("train", MASK_RCNN, "--work-dir", tmp_path, *arguments)
    assert status == 2
    assert message in err and "Traceback" not in err


def test_a_file_that_is_no_checkpoint(tmp_path):
    (tmp_path / "text.pth").write_text("weights")
    status, _, err = command(
        "train", MASK_RCNN, "--backbone", "swin_t", "--backbone-checkpoint", tmp_path / "text.pth"
    )
    assert status == 2 and "text.pth" in err and "Traceback" not in err


def test_a_detector_trains_from_an_encoders_checkpoint(coco, tmp_path):  # noqa: F811
    """Mask R-CNN of mmdet with a tiny Swin that starts from a file: an epoch, and the scores that
    the config in the work folder gives."""
    torch.manual_seed(0)
    classifier = build_backbone(
        "swin_t", embed_dims=16, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=4
    )
    torch.save(classifier.state_dict(), tmp_path / "swin.pth")
    work = tmp_path / "work"
    status, _, err = command(
        "train", MASK_RCNN, "--backbone", "swin_t", "--backbone-checkpoint", tmp_path / "swin.pth",
        "--data-root", coco, "--work-dir", work, "--no-validate",
        *options(
            *FEW,
            *(f"model.backbone.{setting}" for setting in TINY),
            "train_cfg.max_epochs=1",
            "train_dataloader.dataset.pipeline.2.scale=(64,64)",
            "test_dataloader.dataset.pipeline.1.scale=(64,64)",
            "model.train_cfg.rpn_proposal.nms_pre=50",
            "model.test_cfg.rpn.nms_pre=50",
            "model.test_cfg.rcnn.score_thr=0.0",
            "model.test_cfg.rcnn.max_per_img=5",
            "optim_wrapper.optimizer.lr=1e-9",
        ),
    )  # fmt: skip
    assert (status, err.count("Traceback")) == (0, 0)
    trained = torch.load(work / "epoch_1.pth", weights_only=True)["state_dict"]
    for name, value in classifier.state_dict().items():
        if not name.startswith("norm."):  # of the classifier; a detector's outputs have their own
            torch.testing.assert_close(trained[f"backbone.{name}"], value, rtol=0, atol=1e-5)

    status, _, err = command(
        "test", work / "mask-rcnn_r50_fpn_1x_coco.py", work / "epoch_1.pth",
        "--data-root", coco, "--work-dir", work, "--out", work / "scores.json",
    )  # fmt: skip
    assert (status, err.count("Traceback")) == (0, 0)
    assert {"coco/bbox_mAP", "coco/segm_mAP"} < set(json.loads((work / "scores.json").read_text()))
