"""What can't be fitted is refused with the reason, and the config stays as it was."""

from __future__ import annotations

import copy

import pytest
from mmengine.config import Config

from tests.swap.test_swap import DINO, FCN, MASK2FORMER, MASK_RCNN, RESNET, UPERNET
from vit_backbones import UserError, swap_backbone
from vit_backbones.cli.config import read_config


def refused(cfg: Config | str, message: str, encoder: str = "swin_t", **arguments) -> None:
    cfg = read_config(cfg) if isinstance(cfg, str) else cfg
    before = copy.deepcopy(cfg._cfg_dict.to_dict())
    with pytest.raises(UserError, match=message):
        swap_backbone(cfg, encoder, **arguments)
    assert cfg._cfg_dict.to_dict() == before


@pytest.mark.parametrize(
    "config, encoder, arguments, message",
    [
        (DINO, "swin", {}, "no preset 'swin', did you mean 'swin_"),
        (DINO, "swin_t", dict(windowsize=7), "no setting 'windowsize', did you mean 'window_size'"),
        (DINO, "swin_t", dict(type="SwinTransformer"), "leave type and init_cfg out"),
        (DINO, "swin_t", dict(out_indices=(4,)), "4 is out of range"),
        (DINO, "vit_b16", dict(out_type="cls_token"), "a detector or segmenter needs maps"),
        (DINO, "vit_b16", dict(out_indices=(5, 11)), "takes one map of a plain ViT"),
        (DINO, "vit_b16", dict(patch_size=(16, 8)), "patches of 16x8 pixels have no one stride"),
        (DINO, "swin_t", dict(patch_size=2), "takes a map of stride 32, and swin_t has none"),
        (DINO, "swin_t", dict(checkpoint="none.pth"), "none.pth does not exist"),
        (MASK_RCNN, "swin_t", dict(out_indices=(1, 2, 3)), "out_indices gives 1 fewer maps"),
        (MASK2FORMER, "swin_t", dict(out_indices=(2, 3)), "out_indices gives 2 fewer maps"),
        (UPERNET, "swin_t", dict(out_indices=(3,)), "out_indices gives 3 fewer maps"),
        (FCN, "vit_b16", dict(depth=3), "3 blocks can't give 4 different outputs"),
        (RESNET, "vit_b16", dict(out_type="raw"), "a classifier's head takes one vector"),
    ],
)
def test_arguments_that_do_not_fit(config, encoder, arguments, message):
    refused(config, message, encoder, **arguments)


@pytest.mark.parametrize(
    "config, message",
    [
        ("mmdet::faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco", "shared_head is the last stage"),
        ("mmdet::detectors/detectors_cascade-rcnn_r50_1x_coco", "neck RFP"),
        ("mmdet::ssd/ssd300_coco", "so the last 1 of swin_t's 4 stages would do nothing"),
        ("mmseg::setr/setr_vit-l-mla_8xb1-160k_ade20k-512x512", "MLANeck joins maps of one size"),
        ("mmseg::dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512", "DPTHead takes maps together with"),
        ("mmseg::pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes", "PIDHead takes the three maps"),
        (
            "mmseg::bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024",
            "the decoder takes map 0 .* auxiliary heads alone map 2",
        ),
        ("mmseg::vpd/vpd_sd_4xb8-25k_nyu-480x480", "only EncoderDecoder and CascadeEncoderDecoder"),
        (
            "mmseg::san/san-vit-b16_coco-stuff164k-640x640",
            "EncoderDecoder has no backbone",
        ),
        ("mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k", "MAE trains its backbone"),
        ("mmpretrain::deit/deit-tiny-distilled_4xb256_in1k", "head DeiTClsHead is for"),
        ("mmpretrain::csra/resnet101-csra_1xb16_voc07-448px", "head CSRAClsHead is for"),
        ("mmdet::common/lsj-100e_coco-detection", "the config has no backbone at model.backbone"),
    ],
)
def test_models_that_depend_on_their_backbone(config, message):
    refused(config, message)


@pytest.mark.parametrize(
    "config, part",
    [
        ("solov2/solov2_r50_fpn_1x_coco", "mask_head.mask_feature_head"),
        ("htc/htc_r50_fpn_1x_coco", "roi_head.semantic_head"),
        ("rtmdet/rtmdet-ins_s_8xb32-300e_coco", "bbox_head"),
    ],
)
def test_masks_of_a_fixed_share_of_the_image(config, part):
    refused(f"mmdet::{config}", rf"model\.{part} .* has masks of a fixed share", "dinov2_s14")


def test_a_model_that_takes_no_neck():
    config = "mmdet::mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2019"
    refused(config, "Mask2FormerVideo takes no neck", "vit_b16")
    swap_backbone(read_config(config), "swin_t")


def changed(config: str, **values) -> Config:
    cfg = read_config(config)
    cfg.merge_from_dict(values)
    return cfg


@pytest.mark.parametrize(
    "config, values, message",
    [
        (MASK_RCNN, {"model.neck.in_channels": [64] * 4}, "the config does not fit itself"),
        (UPERNET, {"model.auxiliary_head.in_channels": 7}, "the config does not fit itself"),
        (RESNET, {"model.head.in_channels": 7}, "the backbone puts out 2048 channels"),
        (MASK2FORMER, {"model.panoptic_head.in_channels": [1] * 4}, "what they take can't be told"),
        (MASK_RCNN, {"model.neck.end_level": 2}, "only -1 can be fitted"),
        (DINO, {"default_scope": "mmocr"}, "default_scope='mmocr'"),
    ],
)
def test_configs_that_do_not_fit_themselves(config, values, message):
    refused(changed(config, **values), message)


def test_strides_that_belong_to_no_level():
    cfg = changed(MASK_RCNN, **{"model.roi_head.mask_roi_extractor.featmap_strides": [4, 5]})
    refused(cfg, r"featmap_strides=\[4, 5\] are not the strides", "dinov2_s14")


def test_a_model_without_backbone():
    cfg = Config(dict(default_scope="mmdet", model=dict(type="Sort", reid=dict(type="R"))))
    refused(cfg, r"Sort has no backbone at model.backbone or model.detector.backbone \(its parts")


def test_what_is_no_config():
    with pytest.raises(UserError, match="takes a mmengine Config, not dict"):
        swap_backbone(dict(model=dict()), "swin_t")
