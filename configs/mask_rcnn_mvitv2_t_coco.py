"""Mask R-CNN with MViTv2-T on COCO, 36 epochs: 48.3 box AP, 43.8 mask AP.

Windows of 56 at stride 4, halved from stage to stage, and a global block at the end of each stage
but the first.

Source: Li et al., "MViTv2" (arXiv:2112.01526), and the authors'
projects/MViTv2/configs/mask_rcnn_mvitv2_t_3x.py in detectron2, whose README has these scores. The
encoder starts from MViTv2-T, trained on ImageNet-1k.

8 GPUs with 8 images each: tools/dist_train.sh configs/mask_rcnn_mvitv2_t_coco.py 8
"""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "_base_/datasets/coco_instance_multi_scale.py",
    "_base_/schedules/mvitv2_detection_36e.py",
    "_base_/detection_iterations_runtime.py",
]

model = dict(
    backbone=dict(
        _delete_=True,
        type="vit_backbones.MViT",
        arch="mvitv2_t",
        out_indices=(0, 1, 2, 3),
        window_size=56,
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint="timm/mvitv2_tiny.fb_in1k"),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
train_dataloader = dict(sampler=dict(type="InfiniteSampler"), batch_size=8, num_workers=4)
