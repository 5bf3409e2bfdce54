"""Digit scenes with boxes and masks, for mmdet: made on first use, nothing to download."""

_base_ = ["../default_runtime.py"]

custom_imports = dict(imports=["vit_backbones", "vit_backbones.datasets.digit_scenes_det"])
default_scope = "mmdet"
data_root = "data/digit_scenes"

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
    dict(type="Resize", scale=(112, 112), keep_ratio=True),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(112, 112), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="vit_backbones.DigitScenesDet",
        split="train",
        data_root=data_root,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="vit_backbones.DigitScenesDet",
        split="val",
        data_root=data_root,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type="CocoMetric", ann_file=f"{data_root}/annotations/instances_val.json", metric="bbox"
)
test_evaluator = val_evaluator

default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(save_best="coco/bbox_mAP"),
)
visualizer = dict(type="DetLocalVisualizer")
