"""A small ViT on handwritten digits: no download, no GPU, a few minutes on two cores.

The 8x8 images are enlarged to 16x16 and cut into 4x4 patches: 16 tokens and a class token.
"""

_base_ = ["_base_/default_runtime.py"]

model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, num_classes=10, to_rgb=False),
    backbone=dict(
        type="vit_backbones.VisionTransformer",
        arch=dict(embed_dims=64, depth=4, num_heads=2, mlp_ratio=2),
        img_size=16,
        patch_size=4,
        # the usual deviation of 0.02 is for widths of many hundreds; this one fits any
        init_cfg=dict(type="Kaiming", layer="Linear", mode="fan_in", nonlinearity="linear"),
    ),
    head=dict(
        type="VisionTransformerClsHead",
        num_classes=10,
        in_channels=64,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
)

train_pipeline = [
    dict(type="Resize", scale=(16, 16)),
    dict(type="NumpyToPIL"),
    dict(
        type="torchvision/RandomAffine",
        degrees=15,
        translate=(0.1, 0.1),
        scale=(0.9, 1.1),
        shear=10,
        interpolation="bilinear",
    ),
    dict(type="PILToNumpy"),
    dict(type="vit_backbones.RandomGround", prob=0.6),  # for the detectors that start from this
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="Resize", scale=(16, 16)),
    dict(type="PackInputs"),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(type="vit_backbones.Digits", split="train", pipeline=train_pipeline),
    sampler=dict(type="DefaultSampler", shuffle=True),
)
val_dataloader = dict(
    batch_size=182,  # two batches
    num_workers=0,
    dataset=dict(type="vit_backbones.Digits", split="val", pipeline=test_pipeline),
    sampler=dict(type="DefaultSampler", shuffle=False),
)
val_evaluator = dict(type="Accuracy", topk=1)
test_dataloader = val_dataloader
test_evaluator = val_evaluator

optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, end=3, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-5, begin=3, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)

custom_hooks = [
    dict(
        type="vit_backbones.EarlyStoppingHook",
        monitor="accuracy/top1",
        rule="greater",
        min_delta=0,
        patience=20,
    )
]
