"""Swin-T on ImageNet-1k from scratch with its authors' recipe: 81.3 % top-1 at 224x224.

Source: Liu et al., "Swin Transformer" (arXiv:2103.14030), table 1 and appendix A2.1; the authors'
config.py. Augmentation is DeiT's without repeated augmentation; no EMA.

8 GPUs with 128 images each: tools/dist_train.sh configs/swin_t_imagenet.py 8
"""

_base_ = [
    "_base_/datasets/imagenet_224.py",
    "_base_/schedules/swin_300e.py",
    "_base_/default_runtime.py",
]

model = dict(
    type="ImageClassifier",
    backbone=dict(type="vit_backbones.SwinTransformer", arch="swin_t", drop_path_rate=0.2),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=768,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
    # one of the two for each batch, with equal chances
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)

env_cfg = dict(cudnn_benchmark=True)
