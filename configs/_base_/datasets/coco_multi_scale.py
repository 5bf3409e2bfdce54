"""COCO 2017 with boxes alone, augmented as in coco_instance_multi_scale.py; images without objects
are kept, as DETR's authors do."""

_base_ = ["coco_instance_multi_scale.py"]

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[1].with_mask = False
test_pipeline[2].with_mask = False
train_dataloader = dict(
    dataset=dict(pipeline=train_pipeline, filter_cfg=dict(filter_empty_gt=False))
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(metric="bbox")
test_evaluator = val_evaluator
