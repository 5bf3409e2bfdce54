"""Every kind of encoder in the libraries' own configs: one train step, one prediction.

A sample runs by default. All of it, some minutes on two cores:

    pytest tests/swap -m matrix
"""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import InstanceData

from tests.swap.tiny import ENCODERS, batch, build, predict, swapped, train_step

CONFIGS = [
    "mmdet::detr/detr_r50_8xb2-150e_coco",
    "mmdet::conditional_detr/conditional-detr_r50_8xb2-50e_coco",
    "mmdet::dab_detr/dab-detr_r50_8xb2-50e_coco",
    "mmdet::deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco",
    "mmdet::dino/dino-4scale_r50_8xb2-12e_coco",
    "mmdet::ddq/ddq-detr-4scale_r50_8xb2-12e_coco",
    "mmdet::retinanet/retinanet_r50_fpn_1x_coco",
    "mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco",
    "mmdet::atss/atss_r50_fpn_1x_coco",
    "mmdet::yolof/yolof_r50-c5_8xb8-1x_coco",
    "mmdet::yolox/yolox_s_8xb8-300e_coco",
    "mmdet::rtmdet/rtmdet_s_8xb32-300e_coco",
    "mmdet::fpg/retinanet_r50_fpg_crop640_50e_coco",
    "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco",
    "mmdet::pafpn/faster-rcnn_r50_pafpn_1x_coco",
    "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco",
    "mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco",
    "mmdet::sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco",
    "mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco",
    "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco",
    "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic",
    "mmdet::maskformer/maskformer_r50_ms-16xb1-75e_coco",
    "mmdet::solov2/solov2_r50_fpn_1x_coco",
    "mmdet::dyhead/atss_r50_fpn_dyhead_1x_coco",
    "mmseg::upernet/upernet_r50_4xb4-80k_ade20k-512x512",
    "mmseg::beit/beit-base_upernet_8xb2-160k_ade20k-640x640",
    "mmseg::vit/vit_deit-b16_mln_upernet_8xb2-160k_ade20k-512x512",
    "mmseg::segmenter/segmenter_vit-b_mask_8xb1-160k_ade20k-512x512",
    "mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512",
    "mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512",
    "mmseg::dmnet/dmnet_r50-d8_4xb4-80k_ade20k-512x512",
    "mmseg::pspnet/pspnet_r50-d8_4xb4-80k_ade20k-512x512",
    "mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_ade20k-512x512",
    "mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512",
    "mmseg::sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512",
    "mmseg::ocrnet/ocrnet_hr18_4xb4-80k_ade20k-512x512",
    "mmseg::knet/knet-s3_r50-d8_upernet_8xb2-adamw-80k_ade20k-512x512",
    "mmseg::point_rend/pointrend_r50_4xb4-160k_ade20k-512x512",
    "mmpretrain::resnet/resnet50_8xb32_in1k",
    "mmpretrain::vision_transformer/vit-base-p16_32xb128-mae_in1k",
    "mmpretrain::hrnet/hrnet-w18_4xb32_in1k",
]
SAMPLE = {
    ("mmdet::detr/detr_r50_8xb2-150e_coco", "mvitv2_t"),
    ("mmdet::dino/dino-4scale_r50_8xb2-12e_coco", "vit_b16"),
    ("mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco", "swin_t"),
    ("mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco", "mvitv2_t"),
    ("mmseg::upernet/upernet_r50_4xb4-80k_ade20k-512x512", "vit_b16"),
    ("mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512", "swin_t"),
    ("mmpretrain::resnet/resnet50_8xb32_in1k", "vit_b16"),
}
CELLS = [
    pytest.param(
        config,
        encoder,
        marks=[pytest.mark.matrix] + ([pytest.mark.sample] if (config, encoder) in SAMPLE else []),
        id=f"{config.split('/')[-1]}-{encoder}",
    )
    for config in CONFIGS
    for encoder in ENCODERS
]


@pytest.mark.parametrize("config, encoder", CELLS)
def test_trains_and_predicts(config, encoder):
    cfg = swapped(config, encoder)
    library = config.split("::")[0]
    model = build(cfg)
    data = batch(cfg)
    loss, gradients = train_step(cfg, model, data)
    assert loss.isfinite()
    without = [name for name, gradient in gradients.items() if gradient is None]
    assert not without
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert gradients["patch_embed.proj.weight"].abs().sum() > 0
    assert all(p.isfinite().all() for p in model.parameters())
    results = predict(model, data)
    assert len(results) == 2
    for result in results:
        CHECKS[library](result, data["inputs"][0].shape[-2:])


def check_detection(result, size) -> None:
    instances: InstanceData = result.get("pred_instances")
    if instances is None:  # panoptic
        assert result.pred_panoptic_seg.sem_seg.shape[-2:] == size
        return
    assert len(instances) > 0
    assert instances.scores.isfinite().all()
    assert instances.bboxes.isfinite().all()
    if "masks" in instances:
        assert instances.masks.shape[1:] == size


def check_segmentation(result, size) -> None:
    assert result.pred_sem_seg.data.shape[-2:] == size
    assert result.seg_logits.data.isfinite().all()


def check_classification(result, size) -> None:
    assert torch.isclose(result.pred_score.sum(), torch.tensor(1.0), atol=1e-4)


CHECKS = {
    "mmdet": check_detection,
    "mmseg": check_segmentation,
    "mmpretrain": check_classification,
}
