"""Swin V2-T on ImageNet-1k from scratch with windows of 8: 81.8 % top-1 at 256x256.

Source: Liu et al., "Swin Transformer V2" (arXiv:2111.09883), and the authors'
configs/swinv2/swinv2_tiny_patch4_window8_256.yaml; the rest as swin_t_imagenet.py.
"""

_base_ = ["swin_t_imagenet.py"]

model = dict(backbone=dict(arch="swinv2_t", drop_path_rate=0.2))

bgr_mean = [103.53, 116.28, 123.675]
bgr_std = [57.375, 57.12, 58.395]
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=256, backend="pillow", interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(
        type="RandAugment",
        policies="timm_increasing",
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[round(x) for x in bgr_mean], interpolation="bicubic"),
    ),
    dict(
        type="RandomErasing",
        erase_prob=0.25,
        mode="rand",
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=bgr_mean,
        fill_std=bgr_std,
    ),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=292, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=256),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
