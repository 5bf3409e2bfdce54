"""DINO with ViTDet's ViT-B/16 on COCO, 12 epochs.

Windows of 14 with four global blocks, and four maps of stride 8 to 64 by a simple feature pyramid.

Source: Zhang et al., "DINO" (arXiv:2203.03605); Li et al., "ViTDet" (arXiv:2203.16527); their union
in detrex, projects/dino/configs/dino-vitdet/dino_vitdet_base_4scale_12ep.py: 50.2 box AP there. The
encoder starts from MAE (arXiv:2111.06377), trained on ImageNet-1k without labels.

8 GPUs with 2 images each: tools/dist_train.sh configs/dino_vit_b16_coco.py 8
"""

_base_ = [
    "_base_/models/dino.py",
    "_base_/datasets/coco_multi_scale.py",
    "_base_/schedules/dino_12e.py",
    "_base_/detection_runtime.py",
]

model = dict(
    backbone=dict(
        type="vit_backbones.VisionTransformer",
        arch="vitdet_b",
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint="timm/vit_base_patch16_224.mae"),
    ),
    neck=dict(
        _delete_=True,
        type="vit_backbones.SimpleFeaturePyramid",
        in_channels=768,
        out_channels=256,
        scale_factors=(2, 1, 0.5),
        num_outs=4,
    ),
)
