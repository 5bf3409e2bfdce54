"""The ViT of vit_mean_digits.py, trained further on several digits at a time: what DETR starts
from.

It starts from what vit_mean_digits.py trains. Attention looks at the 7x7 patches around each, so
that patches come to tell what they see; learned positions beside the rotary ones tell where.
"""

_base_ = ["vit_mean_digits.py", "_base_/datasets/many_digits.py"]

model = dict(
    backbone=dict(
        img_size=_base_.size,
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

sizes = {  # of digits: 14 to 22 pixels
    "Resize": dict(scale=(20, 20)),
    "torchvision/RandomAffine": dict(scale=(0.7, 1.1)),
}
train_pipeline = [dict(step, **sizes.get(step["type"], {})) for step in _base_.train_pipeline]
train_pipeline[4] = dict(_base_.many_digits, scene_side=48)  # in place of RandomGround
test_pipeline = _base_.many_test_pipeline
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
auto_scale_lr = dict(base_batch_size=32)
train_cfg = dict(max_epochs=50)
