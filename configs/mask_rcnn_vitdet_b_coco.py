"""Mask R-CNN with ViTDet's ViT-B/16 on COCO, 100 epochs: 51.6 box AP, 45.9 mask AP.

Source: Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection"
(arXiv:2203.16527), and the authors' projects/ViTDet/configs/COCO/mask_rcnn_vitdet_b_100ep.py in
detectron2, whose README has these scores: images of 1024x1024, layer-wise decay of the learning
rate by 0.7, stochastic depth 0.1, heads of convolutions with layer norm. The encoder starts from
MAE (arXiv:2111.06377), trained on ImageNet-1k without labels.

8 GPUs with 8 images each: tools/dist_train.sh configs/mask_rcnn_vitdet_b_coco.py 8
"""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "_base_/datasets/coco_instance_lsj.py",
    "_base_/detection_iterations_runtime.py",
]

norm = dict(type="vit_backbones.ChannelNorm", eps=1e-6)
model = dict(
    data_preprocessor=dict(
        batch_augments=[dict(type="BatchFixedSizePad", size=(1024, 1024), pad_mask=True)]
    ),
    backbone=dict(
        _delete_=True,
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
        scale_factors=(4, 2, 1, 0.5),
        num_outs=5,
    ),
    rpn_head=dict(num_convs=2),
    roi_head=dict(
        bbox_head=dict(type="Shared4Conv1FCBBoxHead", norm_cfg=norm),
        mask_head=dict(norm_cfg=norm),
    ),
)

# A test image, too, is padded to 1024x1024.
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (1024, 1024)
test_pipeline.insert(2, dict(type="Pad", size=(1024, 1024), pad_val=dict(img=(104, 116, 124))))
train_dataloader = dict(batch_size=8, num_workers=4)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(
    type="AmpOptimWrapper",
    constructor="vit_backbones.LayerDecayOptimWrapperConstructor",
    optimizer=dict(type="AdamW", fused=True, lr=1e-4, weight_decay=0.1, betas=(0.9, 0.999)),
    paramwise_cfg=dict(
        layer_decay_rate=0.7,
        norm_decay_mult=0.0,
        custom_keys=dict(pos_embed=dict(decay_mult=0.0)),
    ),
)
param_scheduler = [
    dict(type="LinearLR", by_epoch=False, start_factor=1e-3, end=250),
    dict(type="MultiStepLR", by_epoch=False, end=184375, milestones=[163889, 177546], gamma=0.1),
]
train_cfg = dict(by_epoch=False, max_iters=184375, val_interval=5000)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
