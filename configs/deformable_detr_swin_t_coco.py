"""Deformable DETR, refined and two-stage, with Swin-T on COCO, 50 epochs.

Source: Zhu et al., "Deformable DETR" (arXiv:2010.04159), and the authors' README: batches of 32,
46.9 box AP with ResNet-50. The encoder starts from Swin-T (arXiv:2103.14030), trained on
ImageNet-1k.

16 GPUs with 2 images each, or 8 with 4: tools/dist_train.sh configs/deformable_detr_swin_t_coco.py
8 --cfg-options train_dataloader.batch_size=4
"""

_base_ = [
    "_base_/models/deformable_detr.py",
    "_base_/datasets/coco_multi_scale.py",
    "_base_/detection_runtime.py",
]

model = dict(
    backbone=dict(
        type="vit_backbones.SwinTransformer",
        arch="swin_t",
        out_indices=(1, 2, 3),
        pad_small_map=True,
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint="timm/swin_tiny_patch4_window7_224.ms_in1k"),
    ),
    neck=dict(in_channels=[192, 384, 768]),
)

slow = dict(lr_mult=0.1)
optim_wrapper = dict(
    optimizer=dict(type="AdamW", fused=True, lr=2e-4, weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys=dict(backbone=slow, sampling_offsets=slow, reference_points=slow)
    ),
    clip_grad=dict(max_norm=0.1, norm_type=2),
)
param_scheduler = [dict(type="MultiStepLR", end=50, milestones=[40], gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)
