"""DETR with a plain ViT-B/16 on COCO: one map of stride 16, no pyramid.

Source: Carion et al., "End-to-End Object Detection with Transformers" (arXiv:2005.12872), in the
150 epochs of mmdet's detr_r50_8xb2-150e_coco.py (the paper's tables have 300 and 500). Nobody has
published a score with this encoder. It starts from DeiT-B (arXiv:2012.12877), trained on
ImageNet-1k with the mean and deviation that COCO's images get here.

8 GPUs with 2 images each: tools/dist_train.sh configs/detr_vit_b16_coco.py 8
"""

_base_ = [
    "_base_/models/detr.py",
    "_base_/datasets/coco_multi_scale.py",
    "_base_/detection_runtime.py",
]

model = dict(
    backbone=dict(
        type="vit_backbones.VisionTransformer",
        arch="deit_b16",
        out_type="featmap",
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint="timm/deit_base_patch16_224.fb_in1k"),
    ),
    neck=dict(in_channels=[768]),
)

optim_wrapper = dict(
    optimizer=dict(type="AdamW", fused=True, lr=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
    clip_grad=dict(max_norm=0.1, norm_type=2),
)
param_scheduler = [dict(type="MultiStepLR", end=150, milestones=[100], gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=150, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=16)
