"""Digit scenes with a class for each pixel, for mmseg: made on first use, nothing to download."""

_base_ = ["../default_runtime.py"]

custom_imports = dict(imports=["vit_backbones", "vit_backbones.datasets.digit_scenes_seg"])
default_scope = "mmseg"
data_root = "data/digit_scenes"

# no flips: a mirrored digit is none
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="Resize", scale=(128, 128), keep_ratio=True),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(128, 128), keep_ratio=True),
    dict(type="LoadAnnotations"),  # after the resizing: the maps are compared at their full size
    dict(type="PackSegInputs"),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="vit_backbones.DigitScenesSeg",
        split="train",
        data_root=data_root,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="vit_backbones.DigitScenesSeg",
        split="val",
        data_root=data_root,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator

default_hooks = dict(checkpoint=dict(save_best="mIoU"))
visualizer = dict(type="SegLocalVisualizer")
