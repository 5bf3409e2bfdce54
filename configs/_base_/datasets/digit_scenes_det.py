"""Digit scenes with boxes and masks, for mmdet."""

_base_ = ["digit_scenes.py"]

custom_imports = dict(imports=["vit_backbones", "vit_backbones.datasets.digit_scenes_det"])
default_scope = "mmdet"

data_preprocessor = dict(
    type="DetDataPreprocessor",
    mean=[127.5] * 3,
    std=[127.5] * 3,  # as the classifiers of the digits have it
    bgr_to_rgb=True,
    pad_size_divisor=32,
)
# no flips: a mirrored digit is none
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(96, 96), keep_ratio=True),
    dict(type="PhotoMetricDistortion"),  # there are but two photographs
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(96, 96), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]

dataset_type = "vit_backbones.DigitScenesDet"
train_dataloader = dict(dataset=dict(type=dataset_type, pipeline=train_pipeline))
val_dataloader = dict(batch_size=8, dataset=dict(type=dataset_type, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type="CocoMetric", ann_file=f"{_base_.data_root}/annotations/instances_val.json", metric="bbox"
)
test_evaluator = val_evaluator

default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(save_best="coco/bbox_mAP"),
)
visualizer = dict(type="DetLocalVisualizer")
