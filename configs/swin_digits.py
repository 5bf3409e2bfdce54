"""A small Swin on handwritten digits: no download, no GPU, a few minutes on two cores.

Patches of 2x2 in 16x16 pixels, windows of 4 on maps of 8x8, 4x4 and 2x2. Trained as vit_digits.py,
for more epochs of smaller batches, and on more varied digits.
"""

_base_ = ["vit_digits.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="vit_backbones.SwinTransformer",
        arch=dict(
            embed_dims=48, depths=(2, 2, 2), num_heads=(3, 6, 12), window_size=4, mlp_ratio=2
        ),
        img_size=16,
        patch_size=2,
        init_cfg=dict(type="Kaiming", layer="Linear", mode="fan_in", nonlinearity="linear"),
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        _delete_=True,
        type="LinearClsHead",
        num_classes=10,
        in_channels=192,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
    ),
)

# painted on photographs more often and of more sizes: for the detectors that start from this
changes = {
    "torchvision/RandomAffine": dict(scale=(0.7, 1.1)),
    "vit_backbones.RandomGround": dict(prob=0.7),
}
train_pipeline = [dict(step, **changes.get(step["type"], {})) for step in _base_.train_pipeline]
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
auto_scale_lr = dict(base_batch_size=32)
train_cfg = dict(max_epochs=100)
