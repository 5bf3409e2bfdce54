"""The Swin of swin_digits.py, trained further on several digits at a time.

It starts from what swin_digits.py trains; swin_large_digits.py goes on from here. The batch is for
two processes, tools/dist_train.sh configs/swin_many_digits.py 2.
"""

_base_ = ["swin_digits.py", "_base_/datasets/many_digits.py"]

model = dict(
    backbone=dict(
        img_size=_base_.size,
        init_cfg=dict(_delete_=True, type="Pretrained", checkpoint="work_dirs/swin_digits"),
    )
)

sizes = {  # of digits: 13 to 26 pixels
    "Resize": dict(scale=(26, 26)),
    "torchvision/RandomAffine": dict(scale=(0.5, 1.0)),
}
train_pipeline = [dict(step, **sizes.get(step["type"], {})) for step in _base_.train_pipeline]
train_pipeline[4] = dict(_base_.many_digits, scene_side=56)  # in place of RandomGround
test_pipeline = _base_.many_test_pipeline
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=220)
custom_hooks = []  # to its end: the last epoch serves segmenters more than the best
