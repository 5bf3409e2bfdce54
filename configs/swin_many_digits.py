"""The Swin of swin_digits.py, trained further on several digits at a time, for UPerNet.

It starts from what swin_digits.py trains.
"""

_base_ = ["swin_digits.py"]

size = 32
model = dict(
    backbone=dict(
        img_size=size,
        init_cfg=dict(_delete_=True, type="Pretrained", checkpoint="work_dirs/swin_digits"),
    )
)

# digits of 13 to 26 pixels
affine = dict(_base_.train_pipeline[2], scale=(0.5, 1.0))
many = dict(type="vit_backbones.ManyDigits", size=size, others=3, scene_side=56)
train_pipeline = [
    dict(type="Resize", scale=(26, 26)),
    dict(type="NumpyToPIL"),
    affine,
    dict(type="PILToNumpy"),
    many,
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="Resize", scale=(18, 18)),
    dict(type="Pad", size=(size, size)),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=40)
