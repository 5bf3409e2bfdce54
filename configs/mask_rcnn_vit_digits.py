"""Mask R-CNN on digit scenes: boxes and masks, nothing to download.

It starts from the classifier that vit_digits.py trains. The encoder is the classifier's, with
patches of 8 pixels in place of 4: the scenes' digits are about twice as large as the 16 pixels of
the classifier's images. Its map becomes a pyramid as in ViTDet.
"""

_base_ = ["mmdet::_base_/models/mask-rcnn_r50_fpn.py", "_base_/datasets/digit_scenes_det.py"]

width = 64
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(
        _delete_=True,
        type="vit_backbones.VisionTransformer",
        arch=dict(embed_dims=64, depth=4, num_heads=2, mlp_ratio=2),
        img_size=128,
        patch_size=8,
        out_type="featmap",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/vit_digits"),
    ),
    neck=dict(
        _delete_=True,
        type="vit_backbones.SimpleFeaturePyramid",
        in_channels=64,
        out_channels=width,
        scale_factors=(2, 1, 0.5),  # strides 4, 8, 16
    ),
    rpn_head=dict(
        in_channels=width,
        feat_channels=width,
        # squares of 20, 40 and 80 pixels
        anchor_generator=dict(scales=[5], ratios=[0.7, 1.0, 1.6], strides=[4, 8, 16]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=width, featmap_strides=[4, 8, 16], finest_scale=24),
        bbox_head=dict(in_channels=width, fc_out_channels=192, num_classes=10),
        mask_roi_extractor=dict(out_channels=width, featmap_strides=[4, 8, 16], finest_scale=24),
        mask_head=dict(in_channels=width, num_convs=2, conv_out_channels=width, num_classes=10),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100), rcnn=dict(max_per_img=30)),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="Resize", scale=(128, 128), keep_ratio=True),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(128, 128), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(metric=["bbox", "segm"])
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best="coco/segm_mAP"))

optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys=dict(backbone=dict(lr_mult=0.3)),
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
    ),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, end=100, by_epoch=False),
    dict(type="CosineAnnealingLR", eta_min=1e-6, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=15, val_interval=3)
val_cfg = dict()
test_cfg = dict()
