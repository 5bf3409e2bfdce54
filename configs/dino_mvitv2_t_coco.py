"""DINO with MViTv2-T on COCO, 12 epochs.

Windows of 56 at stride 4, halved from stage to stage, and a global block at the end of each stage
but the first: so MViTv2's authors have it in detection.

Source: Zhang et al., "DINO" (arXiv:2203.03605); Li et al., "MViTv2" (arXiv:2112.01526). Nobody has
published a score of the two together. The encoder starts from MViTv2-T, trained on ImageNet-1k.

8 GPUs with 2 images each: tools/dist_train.sh configs/dino_mvitv2_t_coco.py 8
"""

_base_ = [
    "_base_/models/dino.py",
    "_base_/datasets/coco_multi_scale.py",
    "_base_/schedules/dino_12e.py",
    "_base_/detection_runtime.py",
]

model = dict(
    backbone=dict(
        type="vit_backbones.MViT",
        arch="mvitv2_t",
        out_indices=(1, 2, 3),
        window_size=56,
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint="timm/mvitv2_tiny.fb_in1k"),
    ),
    neck=dict(in_channels=[192, 384, 768]),
)
