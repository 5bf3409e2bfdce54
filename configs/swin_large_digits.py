"""The Swin of swin_many_digits.py, trained further on digits as large as those that UPerNet sees.

It starts from what swin_many_digits.py trains, with patches of 4 pixels in place of 2, as UPerNet
has them. The batch is for two processes, tools/dist_train.sh configs/swin_large_digits.py 2.
"""

_base_ = ["swin_many_digits.py"]

size = 96
model = dict(
    backbone=dict(
        img_size=size,
        patch_size=4,
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/swin_many_digits/epoch_220.pth"),
    )
)

sizes = {  # of digits: 36 to 72 pixels
    "Resize": dict(scale=(72, 72)),
    "vit_backbones.ManyDigits": dict(size=size, scene_side=160),
}
train_pipeline = [dict(step, **sizes.get(step["type"], {})) for step in _base_.train_pipeline]
test_pipeline = [
    dict(type="Resize", scale=(54, 54)),
    dict(type="Pad", size=(size, size)),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=120)
