"""The ViT of vit_mean_digits.py, trained further on several digits at a time: what DETR starts
from.

It starts from what vit_mean_digits.py trains. Attention looks at the 7x7 patches around each, so
that patches come to tell what they see; learned positions beside the rotary ones tell where.
"""

_base_ = ["vit_mean_digits.py"]

size = 32
model = dict(
    backbone=dict(
        img_size=size,
        position=("learned", "rope2d"),
        attention=dict(type="local", kernel_size=7),
        init_cfg=dict(
            _delete_=True,
            type="Pretrained",
            checkpoint="work_dirs/vit_mean_digits",
            strict=False,  # learned positions are new
        ),
    )
)

# digits of 14 to 22 pixels
affine = dict(_base_.train_pipeline[2], scale=(0.7, 1.1))
many = dict(type="vit_backbones.ManyDigits", size=size, others=3, scene_side=48)
train_pipeline = [
    dict(type="Resize", scale=(20, 20)),
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
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
auto_scale_lr = dict(base_batch_size=32)
train_cfg = dict(max_epochs=50)
