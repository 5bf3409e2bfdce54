"""Mask R-CNN on digit scenes: boxes and masks, nothing to download.

It starts from the classifier that vit_rope_digits.py trains. The encoder is the classifier's, with
patches of 8 pixels in place of 4: the scenes' digits are about twice as large as the 16 pixels of
the classifier's images. Its map becomes a pyramid as in ViTDet.
"""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "_base_/datasets/digit_scenes_masks.py",
    "_base_/schedules/digit_scenes.py",
]

width = 64
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(
        _delete_=True,
        type="vit_backbones.VisionTransformer",
        arch=dict(embed_dims=64, depth=4, num_heads=2, mlp_ratio=2),
        img_size=112,
        patch_size=8,
        position="rope2d",
        out_type="featmap",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/vit_rope_digits"),
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

val_evaluator = dict(metric=["bbox", "segm"])
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=4)
