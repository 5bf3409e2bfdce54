"""Mask R-CNN with Swin-T on COCO, 36 epochs: 46.0 box AP, 41.6 mask AP.

Source: Liu et al., "Swin Transformer" (arXiv:2103.14030), and the authors'
mask_rcnn_swin_tiny_patch4_window7_mstrain_480-800_adamw_3x_coco.py, whose README has these scores.
The encoder starts from Swin-T, trained on ImageNet-1k.

8 GPUs with 2 images each: tools/dist_train.sh configs/mask_rcnn_swin_t_coco.py 8
"""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "_base_/datasets/coco_instance_multi_scale.py",
    "_base_/detection_runtime.py",
]

model = dict(
    backbone=dict(
        _delete_=True,
        type="vit_backbones.SwinTransformer",
        arch="swin_t",
        out_indices=(0, 1, 2, 3),
        pad_small_map=True,
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint="timm/swin_tiny_patch4_window7_224.ms_in1k"),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)

# Before a crop, too, the long side has at most 1333 pixels here.
train_pipeline = _base_.train_pipeline
train_pipeline[3].transforms[1][0].scales = [(400, 1333), (500, 1333), (600, 1333)]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    type="AmpOptimWrapper",
    optimizer=dict(type="AdamW", fused=True, lr=1e-4, weight_decay=0.05, betas=(0.9, 0.999)),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys=dict(relative_position_bias_table=dict(decay_mult=0.0)),
    ),
)
param_scheduler = [
    dict(type="LinearLR", by_epoch=False, start_factor=1e-3, end=500),
    dict(type="MultiStepLR", end=36, milestones=[27, 33], gamma=0.1),
]
train_cfg = dict(by_epoch=True, max_epochs=36, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=16)
