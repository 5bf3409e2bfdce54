"""COCO 2017 with instance masks under large-scale jitter (Ghiasi et al. 2021, arXiv:2012.07177):
each image at 0.1 to 2 times the size that fits 1024x1024, of which at most 1024x1024 are kept;
smaller ones are padded by the model's data_preprocessor.
"""

_base_ = ["mmdet::_base_/datasets/coco_instance.py"]

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomResize", scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(
        type="RandomCrop",
        crop_type="absolute",
        crop_size=(1024, 1024),
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type="FilterAnnotations", min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(sampler=dict(type="InfiniteSampler"), dataset=dict(pipeline=train_pipeline))
