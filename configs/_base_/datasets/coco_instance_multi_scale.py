"""COCO 2017 with instance masks, augmented as by DETR (Carion et al. 2020, arXiv:2005.12872): the
short side one of 480 to 800, or first a random crop. Used since by Sparse R-CNN, Swin and MViTv2.

8 GPUs with 2 images each, unless the recipe says otherwise.
"""

_base_ = ["mmdet::_base_/datasets/coco_instance.py"]

sides = dict(
    type="RandomChoiceResize",
    scales=[(side, 1333) for side in range(480, 801, 32)],
    keep_ratio=True,
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomFlip", prob=0.5),
    dict(
        type="RandomChoice",
        transforms=[
            [sides],
            [
                dict(  # no image of COCO is so long that 4200 would limit it
                    type="RandomChoiceResize",
                    scales=[(400, 4200), (500, 4200), (600, 4200)],
                    keep_ratio=True,
                ),
                dict(
                    type="RandomCrop",
                    crop_type="absolute_range",
                    crop_size=(384, 600),
                    allow_negative_crop=True,
                ),
                sides,
            ],
        ],
    ),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
