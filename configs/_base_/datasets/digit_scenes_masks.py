"""Digit scenes with instance masks, at 112 pixels."""

_base_ = ["digit_scenes_det.py"]

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[1].with_mask = True
train_pipeline[2].scale = test_pipeline[1].scale = (112, 112)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(save_best="coco/segm_mAP"))
