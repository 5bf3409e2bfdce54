"""Digit scenes with a class for each pixel, for mmseg."""

_base_ = ["digit_scenes.py"]

custom_imports = dict(imports=["vit_backbones", "vit_backbones.datasets.digit_scenes_seg"])
default_scope = "mmseg"

# no flips: a mirrored digit is none
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="Resize", scale=(192, 192), keep_ratio=True),
    dict(type="PhotoMetricDistortion"),  # there are but two photographs
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(192, 192), keep_ratio=True),
    dict(type="LoadAnnotations"),  # after the resizing: the maps are compared at their full size
    dict(type="PackSegInputs"),
]

dataset_type = "vit_backbones.DigitScenesSeg"
train_dataloader = dict(dataset=dict(type=dataset_type, pipeline=train_pipeline))
val_dataloader = dict(batch_size=1, dataset=dict(type=dataset_type, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator

default_hooks = dict(checkpoint=dict(save_best="mIoU"))
visualizer = dict(type="SegLocalVisualizer")
