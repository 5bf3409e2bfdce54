"""Digit scenes with a class for each pixel, for mmseg."""

_base_ = ["digit_scenes.py"]

custom_imports = dict(imports=["vit_backbones", "vit_backbones.datasets.digit_scenes_seg"])
default_scope = "mmseg"

# The shorter side is the same for all scenes: the digits' size is a share of it. No flips: a
# mirrored digit is none.
resize = dict(type="Resize", scale=(1024, 160), keep_ratio=True)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    resize,
    dict(type="RandomRotate", prob=0.7, degree=15, pad_val=127, seg_pad_val=255),
    dict(type="RandomCrop", crop_size=(128, 128)),
    dict(type="PhotoMetricDistortion"),  # there are but two photographs
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    resize,
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
