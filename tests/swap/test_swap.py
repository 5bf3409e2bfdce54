"""What a swap makes of configs: necks, heads, levels and strides."""

from __future__ import annotations

import copy

import pytest
from mmengine.config import Config

import vit_backbones as vb
from tests.swap.tiny import build
from vit_backbones.cli.config import read_config
from vit_backbones.swap import library_of, swap_backbone


def swapped(name: str, encoder: str, **arguments) -> Config:
    cfg = read_config(name)
    swap_backbone(cfg, encoder, **arguments)
    return cfg


DINO = "mmdet::dino/dino-4scale_r50_8xb2-12e_coco"
RETINANET = "mmdet::retinanet/retinanet_r50_fpn_1x_coco"
MASK_RCNN = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco"
MASK2FORMER = "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco"
UPERNET = "mmseg::upernet/upernet_r50_4xb4-80k_ade20k-512x512"
FCN = "mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512"
RESNET = "mmpretrain::resnet/resnet50_8xb32_in1k"


ENCNET = "mmseg::encnet/encnet_r50-d8_4xb4-80k_ade20k-512x512"
ICNET = "mmseg::icnet/icnet_r50-d8_4xb2-80k_cityscapes-832x832"
SWIN_384 = "mmpretrain::swin_transformer/swin-base_16xb64_in1k-384px"


def test_a_head_that_uses_the_last_of_its_maps_gets_no_other():
    cfg = swapped(ENCNET, "swin_t")
    assert cfg.model.backbone.out_indices == (2, 3)  # the auxiliary head takes the first
    head = cfg.model.decode_head
    assert (list(head.in_channels), list(head.in_index)) == ([768], [1])


def test_strides_that_scaled_branches_round():
    cfg = swapped(ICNET, "swin_t")
    assert cfg.model.backbone.out_indices == (1, 2, 3)
    assert list(cfg.model.neck.in_channels) == [192, 384, 768]


def test_a_backbone_for_larger_images_than_usual():
    assert swapped(SWIN_384, "vit_b16").model.head.in_channels == 768


def test_hierarchical_encoder_keeps_neck_and_strides():
    before = read_config(DINO)
    cfg = swapped(DINO, "swin_t")
    assert cfg.model.backbone == dict(
        type="vit_backbones.SwinTransformer", arch="swin_t", out_indices=(1, 2, 3)
    )
    assert cfg.model.neck == {**before.model.neck, "in_channels": [192, 384, 768]}
    for part in ("encoder", "decoder", "bbox_head", "data_preprocessor"):
        assert cfg.model[part] == before.model[part]


def test_levels_that_a_neck_skips_are_not_put_out():
    """RetinaNet's FPN begins at the second level; a first one would have norms without gradient."""
    cfg = swapped(RETINANET, "mvitv2_t")
    assert cfg.model.backbone.out_indices == (1, 2, 3)
    assert cfg.model.neck.in_channels == [192, 384, 768]
    assert (cfg.model.neck.start_level, cfg.model.neck.num_outs) == (0, 5)
    assert cfg.model.bbox_head == read_config(RETINANET).model.bbox_head


def test_plain_vit_gets_a_pyramid_in_place_of_an_fpn():
    cfg = swapped(MASK_RCNN, "vitdet_b")
    assert cfg.model.backbone.out_indices == (11,)
    assert cfg.model.neck == dict(
        type="vit_backbones.SimpleFeaturePyramid",
        in_channels=768,
        out_channels=256,
        scale_factors=(4, 2, 1, 0.5),
        num_outs=5,
    )
    assert cfg.model.rpn_head == read_config(MASK_RCNN).model.rpn_head


def test_plain_vit_gets_a_pyramid_before_another_neck():
    cfg = swapped(DINO, "vit_b16")
    pyramid, mapper = cfg.model.neck
    assert pyramid.scale_factors == (2, 1, 0.5)
    assert mapper.in_channels == [256, 256, 256]
    assert (mapper.type, mapper.num_outs) == ("ChannelMapper", 4)
    assert cfg.model.data_preprocessor.pad_size_divisor == 32


def test_plain_vit_gets_a_pyramid_before_heads_without_neck():
    cfg = swapped(MASK2FORMER, "mae_l16")
    assert cfg.model.neck.type == "vit_backbones.SimpleFeaturePyramid"
    assert cfg.model.panoptic_head.in_channels == [256] * 4
    assert cfg.model.panoptic_head.strides == [4, 8, 16, 32]


def test_one_map_of_a_plain_vit_goes_to_the_neck_as_it_is():
    cfg = swapped("mmdet::detr/detr_r50_8xb2-150e_coco", "dino_s8")
    assert cfg.model.neck.in_channels == [384]
    assert cfg.model.backbone.out_indices == (11,)
    assert cfg.model.data_preprocessor.pad_size_divisor == 8


@pytest.mark.parametrize(
    "encoder, factors",
    [("dino_s8", (2, 1, 0.5, 0.25)), ("vit_b16", (4, 2, 1, 0.5)), ("vit_b32", (8, 4, 2, 1))],
)
def test_every_patch_of_a_power_of_two_reaches_the_same_strides(encoder, factors):
    cfg = swapped(MASK_RCNN, encoder)
    assert cfg.model.neck.scale_factors == factors
    extractor = cfg.model.roi_head.bbox_roi_extractor
    assert extractor.featmap_strides == [4, 8, 16, 32]


def test_a_patch_of_14_changes_the_strides_of_all_heads():
    cfg = swapped(MASK_RCNN, "dinov2_s14")
    anchors = cfg.model.rpn_head.anchor_generator
    assert anchors.strides == [3.5, 7, 14, 28, 56]
    assert anchors.base_sizes == [4, 8, 16, 32, 64]  # anchors keep their size in pixels
    for kind in ("bbox", "mask"):
        assert cfg.model.roi_head[f"{kind}_roi_extractor"].featmap_strides == [3.5, 7, 14, 28]
    assert cfg.model.data_preprocessor.pad_size_divisor == 28

    points = swapped("mmdet::reppoints/reppoints-moment_r50_fpn_1x_coco", "dinov2_s14")
    assert points.model.bbox_head.point_strides == [7, 14, 28, 56, 112]

    head = swapped(MASK2FORMER, "dinov2_s14").model
    assert head.panoptic_head.strides == [3.5, 7, 14, 28]
    (augment,) = head.data_preprocessor.batch_augments
    assert augment.size == (1036, 1036)  # 1024 is no multiple of 28


def test_heads_beside_a_detector():
    """A tracker's sees the detector's maps."""
    qdtrack = "qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval"
    model = swapped(f"mmdet::qdtrack/{qdtrack}", "dinov2_s14").model
    assert model.track_head.roi_extractor.featmap_strides == [3.5, 7, 14, 28]


def test_a_single_level_of_another_stride():
    cfg = swapped("mmdet::yolof/yolof_r50-c5_8xb8-1x_coco", "vit_b16")
    anchors = cfg.model.bbox_head.anchor_generator
    assert (anchors.strides, anchors.base_sizes) == ([16], [32])


def test_more_levels_by_out_indices():
    """DINO with five scales, as its authors have it with Swin-L."""
    cfg = swapped(DINO, "swin_l", out_indices=(0, 1, 2, 3))
    model = cfg.model
    assert model.neck.in_channels == [192, 384, 768, 1536]
    assert (model.neck.num_outs, model.num_feature_levels) == (5, 5)
    assert model.encoder.layer_cfg.self_attn_cfg.num_levels == 5
    assert model.decoder.layer_cfg.cross_attn_cfg.num_levels == 5
    assert "num_levels" not in model.decoder.layer_cfg.self_attn_cfg


def test_a_neck_whose_channels_are_listed_in_reverse():
    cfg = swapped("mmdet::yolo/yolov3_d53_8xb8-320-273e_coco", "swin_t")
    assert cfg.model.neck.in_channels == [768, 384, 192]
    assert cfg.model.backbone.out_indices == (1, 2, 3)


def test_a_chain_of_necks_is_fitted_at_its_head():
    cfg = swapped("mmdet::libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco", "swin_t")
    fpn, bfp = cfg.model.neck
    assert fpn.in_channels == [96, 192, 384, 768]
    assert bfp == read_config("mmdet::libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco").model.neck[1]
    pyramid, bfp = swapped(
        "mmdet::libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco", "vit_b16"
    ).model.neck  # fmt: skip
    assert (pyramid.type, bfp.type) == ("vit_backbones.SimpleFeaturePyramid", "BFP")


def test_segmenters_heads_take_their_maps_by_new_indices():
    """Of a ResNet's four outputs FCN takes the last two; Swin puts out no more than these."""
    cfg = swapped(FCN, "swin_t")
    assert cfg.model.backbone.out_indices == (2, 3)
    decode, auxiliary = cfg.model.decode_head, cfg.model.auxiliary_head
    assert (decode.in_index, decode.in_channels) == (1, 768)
    assert (auxiliary.in_index, auxiliary.in_channels) == (0, 384)


def test_heads_for_single_maps_take_blocks_of_a_plain_vit():
    cfg = swapped(FCN, "vit_l16")
    assert cfg.model.backbone.out_indices == (17, 23)
    assert "neck" not in cfg.model
    assert (cfg.model.decode_head.in_index, cfg.model.auxiliary_head.in_index) == (1, 0)


def test_lists_of_indices_and_channels():
    cfg = swapped(UPERNET, "swin_b")
    assert cfg.model.decode_head.in_channels == [128, 256, 512, 1024]
    assert cfg.model.decode_head.in_index == [0, 1, 2, 3]
    assert (cfg.model.auxiliary_head.in_index, cfg.model.auxiliary_head.in_channels) == (2, 512)


def test_a_map_that_a_head_takes_without_index():
    """DeepLabV3+ adds the first map."""
    cfg = swapped("mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_ade20k-512x512", "swin_t")
    assert cfg.model.backbone.out_indices == (0, 2, 3)
    head = cfg.model.decode_head
    assert (head.in_index, head.in_channels, head.c1_in_channels) == (2, 768, 96)


def test_necks_for_plain_maps():
    deit = "mmseg::vit/vit_deit-b16_mln_upernet_8xb2-160k_ade20k-512x512"
    neck = swapped(deit, "vit_l16").model.neck
    assert (neck.in_channels, neck.scales) == ([1024] * 4, [4, 2, 1, 0.5])
    neck = swapped(deit, "swin_t").model.neck
    assert (neck.in_channels, neck.scales) == ([96, 192, 384, 768], [1, 1, 1, 1])

    beit = "mmseg::beit/beit-base_upernet_8xb2-160k_ade20k-640x640"
    model = swapped(beit, "dino_b8").model
    assert model.neck.embed_dim == 768
    assert model.neck.rescales == [2, 1, 0.5, 0.25]
    assert model.backbone.img_size == 640
    model = swapped(beit, "swin_t").model
    assert "neck" not in model
    assert model.decode_head.in_channels == [96, 192, 384, 768]


def test_a_neck_that_asks_for_a_tuple():
    jpu = "mmseg::fastfcn/fastfcn_r50-d32_jpu_psp_4xb2-80k_cityscapes-512x1024"
    assert swapped(jpu, "vit_b16").model.neck[1].in_channels == (256, 256, 256)


def test_a_head_without_convolutions():
    cfg = swapped("mmseg::segmenter/segmenter_vit-s_fcn_8xb1-160k_ade20k-512x512", "vit_b16")
    assert cfg.model.decode_head.channels == 768


def test_classifiers():
    cfg = swapped(RESNET, "vit_s16", drop_path_rate=0.1)
    assert cfg.model.backbone.drop_path_rate == 0.1
    assert (cfg.model.neck, cfg.model.head.in_channels) == (None, 384)
    cfg = swapped(RESNET, "mvitv2_t")  # it has no class token
    assert (cfg.model.neck.type, cfg.model.head.in_channels) == ("GlobalAveragePooling", 768)
    cfg = swapped("mmpretrain::vision_transformer/vit-base-p16_64xb64_in1k", "swin_t")
    assert (cfg.model.neck.type, cfg.model.head.in_channels) == ("GlobalAveragePooling", 768)
    cfg = swapped("mmpretrain::vision_transformer/vit-base-p16_64xb64_in1k-384px", "deit_b16")
    assert cfg.model.backbone.img_size == 384
    mixer = "mmpretrain::mlp_mixer/mlp-mixer-base-p16_64xb64_in1k"  # pools over another dimension
    assert swapped(mixer, "swin_t").model.neck == dict(type="GlobalAveragePooling")
    swapped("mmpretrain::vig/vig-tiny_8xb128_in1k", "vit_b16")  # it takes images of 224 only


def test_the_neck_of_a_linear_probe():
    probe = "mmpretrain::mae/benchmarks/vit-base-p16_8xb2048-linear-coslr-90e_in1k"
    norm = dict(type="ClsBatchNormNeck", input_features=1024)
    assert swapped(probe, "vit_l16").model.neck == norm
    pooling, norm = swapped(probe, "swin_t").model.neck
    assert (pooling.type, norm.input_features) == ("GlobalAveragePooling", 768)


def test_our_own_configs():
    cfg = swapped("vit_digits", "swin_t")
    assert cfg.model.head.in_channels == 768
    assert cfg.model.neck.type == "GlobalAveragePooling"


@pytest.mark.parametrize(
    "name", ["ld/ld_r18-gflv1-r101_fpn_1x_coco", "lad/lad_r50-paa-r101_fpn_2xb8_coco_1x"]
)
def test_a_teacher_keeps_the_strides_of_its_student(name):
    """It is compared with the student place by place."""
    assert swapped(f"mmdet::{name}", "swin_t").model.backbone.arch == "swin_t"
    cfg = read_config(f"mmdet::{name}")
    with pytest.raises(vb.UserError, match="the maps of a teacher, of strides 8, 16"):
        swap_backbone(cfg, "dinov2_s14")


def test_a_detector_inside_another_model():
    name = "mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco"
    cfg = swapped(name, "swin_t")
    assert cfg.model.detector.backbone.type == "vit_backbones.SwinTransformer"
    outer = cfg.model.data_preprocessor.data_preprocessor
    for preprocessor in (cfg.model.detector.data_preprocessor, outer):
        assert preprocessor.bgr_to_rgb
        assert preprocessor.std == [58.395, 57.12, 57.375]
    model = build(cfg)
    assert isinstance(model.student.backbone, vb.SwinTransformer)


PURE_PYTHON = """
from mmdet.models import FPN, ResNet, RetinaHead, RetinaNet
from mmdet.models.task_modules import AnchorGenerator
from torch.optim import SGD

default_scope = "mmdet"
model = dict(
    type=RetinaNet,
    backbone=dict(type=ResNet, depth=18, out_indices=(0, 1, 2, 3)),
    neck=dict(type=FPN, in_channels=[64, 128, 256, 512], out_channels=32, num_outs=4),
    bbox_head=dict(
        type=RetinaHead,
        num_classes=80,
        in_channels=32,
        feat_channels=32,
        anchor_generator=dict(
            type=AnchorGenerator, ratios=[1.0], scales=[8], strides=[4, 8, 16, 32]
        ),
    ),
)
optim_wrapper = dict(optimizer=dict(type=SGD, lr=0.01))
"""


def test_the_library_of_a_config():
    from mmdet.models import RetinaNet

    assert library_of(Config(dict(default_scope="mmseg"))) == "mmseg"
    assert library_of(Config(dict(default_scope=None, model=dict(type=RetinaNet)))) == "mmdet"
    assert library_of(Config(dict(model=dict(type="mmpretrain.ImageClassifier")))) == "mmpretrain"
    assert library_of(Config(dict(default_scope="mmengine"))) is None


def test_configs_that_import_their_classes(tmp_path):
    (tmp_path / "c.py").write_text(PURE_PYTHON)
    cfg = Config.fromfile(tmp_path / "c.py")
    swap_backbone(cfg, "dinov2_s14")
    assert cfg.model.neck.scale_factors == (4, 2, 1, 0.5)
    assert cfg.model.bbox_head.anchor_generator.base_sizes == [4, 8, 16, 32]
    assert cfg.optim_wrapper.optimizer.type == "AdamW"
    assert build(cfg).bbox_head.prior_generator.strides[0] == (3.5, 3.5)


def test_overrides_reach_the_encoder():
    tiny = dict(embed_dims=16, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=4)
    cfg = swapped(DINO, "swin_t", arch=tiny, with_cp=True, frozen_stages=1)
    assert cfg.model.backbone.arch == tiny
    assert (cfg.model.backbone.with_cp, cfg.model.backbone.frozen_stages) == (True, 1)
    assert cfg.model.neck.in_channels == [32, 64, 128]


def test_weights_of_the_old_backbone_are_dropped_and_new_ones_named(tmp_path):
    file = tmp_path / "swin.pth"
    file.touch()
    cfg = swapped(UPERNET, "swin_t", checkpoint=str(file))
    assert cfg.model.pretrained is None
    assert cfg.model.backbone.init_cfg == dict(type="Pretrained", checkpoint=str(file))
    cfg = read_config(MASK_RCNN)
    cfg.load_from = "https://example.org/mask_rcnn_r50.pth"
    swap_backbone(cfg, "swin_t")
    assert cfg.load_from is None


def test_the_config_can_be_saved_and_read_again(tmp_path):
    cfg = swapped(MASK_RCNN, "vit_b16")
    cfg.dump(tmp_path / "c.py")
    again = Config.fromfile(tmp_path / "c.py")
    assert again.model.neck == cfg.model.neck
    assert "vit_backbones" in again.custom_imports.imports


def test_a_swap_can_be_swapped_again():
    once = swapped(MASK_RCNN, "swin_t")
    twice = copy.deepcopy(once)
    swap_backbone(twice, "swin_b")
    swap_backbone(twice, "swin_t")
    assert twice.model == once.model
    assert swap_backbone(twice, "swin_t").changes == {}


def test_a_pyramid_comes_and_goes_with_a_plain_vit():
    cfg = swapped(MASK_RCNN, "vit_b16")
    swap_backbone(cfg, "dino_s8")
    assert (cfg.model.neck.in_channels, cfg.model.neck.num_outs) == (384, 5)
    assert cfg.model.neck.scale_factors == (2, 1, 0.5, 0.25)
    swap_backbone(cfg, "swin_t")
    assert cfg.model.neck == dict(
        type="FPN", in_channels=[96, 192, 384, 768], out_channels=256, num_outs=5
    )
    assert cfg.model.backbone.out_indices == (0, 1, 2, 3)

    cfg = swapped(DINO, "vit_b16")
    swap_backbone(cfg, "swin_t")
    assert cfg.model.neck == swapped(DINO, "swin_t").model.neck
    assert cfg.model.backbone == swapped(DINO, "swin_t").model.backbone


def test_the_report_lists_what_changed():
    report = swap_backbone(read_config(DINO), "swin_t")
    text = str(report)
    assert "model.neck.in_channels" in text
    assert "[512, 1024, 2048] -> [192, 384, 768]" in text
    assert "ResNet(depth=50" in text and "SwinTransformer(arch='swin_t'" in text
    assert "random weights" in text
    assert set(report.changes) == {
        "model.backbone",
        "model.neck.in_channels",
        "optim_wrapper.constructor",
        "custom_imports",
    }
