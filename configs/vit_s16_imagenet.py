"""ViT-S/16 on ImageNet-1k from scratch, the simple recipe: 76.5 % top-1 in 90 epochs, 80.0 in 300.

Source: Beyer, Zhai, Kolesnikov, "Better plain ViT baselines for ImageNet-1k" (arXiv:2205.01580),
section 2, and big_vision's configs/vit_s16_i1k.py. No class token, fixed 2-D sin-cos positions,
average pooling, light RandAugment and Mixup; no stochastic depth, label smoothing or EMA.
For 300 epochs: --cfg-options train_cfg.max_epochs=300

8 GPUs with 128 images each: tools/dist_train.sh configs/vit_s16_imagenet.py 8
"""

_base_ = ["_base_/datasets/imagenet_224.py", "_base_/default_runtime.py"]

model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="vit_backbones.VisionTransformer",
        arch="vit_s16",
        position="sincos2d",
        cls_token=False,
        out_type="avg_featmap",
    ),
    head=dict(type="VisionTransformerClsHead", num_classes=1000, in_channels=384, hidden_dim=384),
    train_cfg=dict(augments=dict(type="Mixup", alpha=0.2)),
)

data_preprocessor = dict(mean=[127.5] * 3, std=[127.5] * 3)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=224, crop_ratio_range=(0.05, 1.0)),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(
        type="RandAugment",
        policies="timm_increasing",
        num_policies=2,
        total_level=10,
        magnitude_level=10,
    ),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    type="AmpOptimWrapper",
    constructor="vit_backbones.LayerDecayOptimWrapperConstructor",
    # big_vision's decay of 1e-4 is not multiplied by the learning rate of 1e-3; AdamW's is
    optimizer=dict(type="AdamW", fused=True, lr=1e-3, weight_decay=0.1, betas=(0.9, 0.999)),
    paramwise_cfg=dict(
        layer_decay_rate=1.0, norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0
    ),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [  # 8 epochs: 10,000 steps of 1,024 images
    dict(type="LinearLR", start_factor=1e-4, end=8, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=0, begin=8, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=1024)
env_cfg = dict(cudnn_benchmark=True)
