"""Normalisation, padding and image size after a swap."""

from __future__ import annotations

import pytest
from transformers import image_utils

from tests.swap.test_swap import DINO, MASK_RCNN, RESNET, UPERNET, swapped
from vit_backbones import list_backbones, swap_backbone
from vit_backbones.backbones.normalisation import CLIP, HALF, IMAGENET, published_normalisation
from vit_backbones.cli.config import read_config

CAFFE = "mmdet::mask_rcnn/mask-rcnn_r50-caffe_fpn_1x_coco"


def test_images_are_normalised_as_for_the_published_weights():
    """Those of a caffe ResNet are BGR and not scaled."""
    cfg = swapped(CAFFE, "swin_t")
    preprocessor = cfg.model.data_preprocessor
    assert (preprocessor.mean, preprocessor.std) == (list(IMAGENET.mean), list(IMAGENET.std))
    assert preprocessor.bgr_to_rgb
    assert swapped(CAFFE, "vit_b16").model.data_preprocessor.std == [127.5] * 3


def test_a_detector_that_did_not_normalise_does_now():
    preprocessor = swapped("mmdet::yolox/yolox_s_8xb8-300e_coco", "swin_t").model.data_preprocessor
    assert (preprocessor.mean, preprocessor.std) == (list(IMAGENET.mean), list(IMAGENET.std))
    assert preprocessor.bgr_to_rgb


def test_images_that_a_teacher_sees_too_are_left():
    config = "mmdet::ld/ld_r18-gflv1-r101_fpn_1x_coco"
    cfg = read_config(config)
    report = swap_backbone(cfg, "vit_b16")
    assert cfg.model.data_preprocessor.mean == read_config(config).model.data_preprocessor.mean
    assert any("model.teacher_config stays" in note for note in report.notes)


def test_normalisation_beside_the_model():
    cfg = swapped(RESNET, "clip_b16")
    assert cfg.data_preprocessor.mean == pytest.approx([122.77, 116.75, 104.09], abs=0.01)
    assert cfg.data_preprocessor.to_rgb
    cfg = swapped(UPERNET, "vit_b16")
    for preprocessor in (cfg.data_preprocessor, cfg.model.data_preprocessor):
        assert preprocessor.mean == [127.5] * 3


def test_every_preset_has_a_normalisation():
    assert {published_normalisation(name) for name in list_backbones()} == {IMAGENET, HALF, CLIP}


@pytest.mark.parametrize(
    "ours, theirs",
    [(IMAGENET, "IMAGENET_DEFAULT"), (HALF, "IMAGENET_STANDARD"), (CLIP, "OPENAI_CLIP")],
)
def test_normalisations_are_transformers_own(ours, theirs):
    for name in ("MEAN", "STD"):
        values = [255 * v for v in getattr(image_utils, f"{theirs}_{name}")]
        assert getattr(ours, name.lower()) == pytest.approx(values, rel=1e-8)


@pytest.mark.parametrize(
    "encoder, divisor",
    [("swin_t", 1), ("mvitv2_t", 1), ("vit_b16", 32), ("dino_s8", 32), ("dinov2_s14", 28)],
)
def test_padding_of_detectors(encoder, divisor):
    """A hierarchical encoder rounds up as the ResNet did; a plain ViT pads whole patches inside."""
    assert swapped(DINO, encoder).model.data_preprocessor.pad_size_divisor == divisor


def test_a_divisor_that_fits_is_kept():
    assert swapped(MASK_RCNN, "vit_b32").model.data_preprocessor.pad_size_divisor == 32


def test_sizes_of_segmenters():
    cfg = swapped(UPERNET, "vit_b16")
    assert cfg.model.backbone.img_size == 512
    assert cfg.model.data_preprocessor.size == (512, 512)
    assert cfg.model.data_preprocessor.test_cfg == dict(size_divisor=32)
    cfg = swapped(UPERNET, "dinov2_b14")
    assert cfg.model.data_preprocessor.size == (532, 532)  # 28 * 19
    assert cfg.model.backbone.img_size == 532
    cfg = swapped(UPERNET, "vit_b16", img_size=256)
    assert cfg.model.backbone.img_size == 256  # the user's choice stands
    segmenter = "mmseg::segmenter/segmenter_vit-b_mask_8xb1-160k_ade20k-512x512"
    assert swapped(segmenter, "dinov2_b14").model.test_cfg.crop_size == (518, 518)
