"""ViT-B/16 on ImageNet-1k from scratch with DeiT's recipe, which reaches 81.8 % top-1 at 224x224.

Source: Touvron et al., "Training data-efficient image transformers & distillation through
attention" (arXiv:2012.12877), section 5 and table 9 (hyper-parameters), table 5 (81.8 %), and the
defaults of its published main.py (EMA). Gradient clipping is the one addition, see the schedule.

8 GPUs with 128 images each: tools/dist_train.sh configs/vit_b16_imagenet.py 8
On others add --auto-scale-lr.
"""

_base_ = [
    "_base_/datasets/imagenet_224.py",
    "_base_/schedules/deit_300e.py",
    "_base_/default_runtime.py",
]

model = dict(
    type="ImageClassifier",
    backbone=dict(type="vit_backbones.VisionTransformer", arch="vit_b16", drop_path_rate=0.1),
    head=dict(
        type="VisionTransformerClsHead",
        num_classes=1000,
        in_channels=768,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
    # one of the two for each batch, with equal chances
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)

# each image three times in a batch, differently augmented (Hoffer et al. 2020)
train_dataloader = dict(sampler=dict(type="RepeatAugSampler", num_repeats=3, shuffle=True))

# decay 0.99996; validation and checkpoints' state_dict hold the average (main.py validates without)
custom_hooks = [dict(type="EMAHook", momentum=4e-5, priority="ABOVE_NORMAL")]

env_cfg = dict(cudnn_benchmark=True)
