"""A ViT of 2.7 M parameters on CIFAR-10 from scratch, 32x32 images in 4x4 patches.

Source: the plain ViT of Lee, Lee, Song, "Vision Transformer for Small-Size Datasets"
(arXiv:2112.13492), section 4.1, and its published main.py: model, schedule, Mixup/CutMix, label
smoothing, random erasing, repeated augmentation. It uses AutoAugment's CIFAR policy, which
mmpretrain does not have; RandAugment stands in for it.

One GPU: tools/train.py configs/vit_cifar10.py --data-root FOLDER
"""

_base_ = ["_base_/datasets/cifar10_32.py", "_base_/default_runtime.py"]

model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="vit_backbones.VisionTransformer",
        arch=dict(embed_dims=192, depth=9, num_heads=12, mlp_ratio=2),
        img_size=32,
        patch_size=4,
        drop_path_rate=0.1,
        init_cfg=dict(type="Xavier", layer=["Linear", "Conv2d"]),
    ),
    head=dict(
        type="VisionTransformerClsHead",
        num_classes=10,
        in_channels=192,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        init_cfg=dict(type="Xavier", layer="Linear"),
    ),
    train_cfg=dict(
        augments=[dict(type="Mixup", alpha=1.0), dict(type="CutMix", alpha=1.0)],
        probs=[0.25, 0.25],  # half of the batches are left as they are
    ),
)

optim_wrapper = dict(
    constructor="vit_backbones.LayerDecayOptimWrapperConstructor",
    optimizer=dict(type="AdamW", fused=True, lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(layer_decay_rate=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, end=10, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=0, begin=10, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=128)
