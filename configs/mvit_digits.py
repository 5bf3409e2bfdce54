"""A small MViTv2 on handwritten digits: no download, no GPU, a few minutes on two cores.

Patches every 2 of 16x16 pixels, then maps of 8x8 and 4x4; the rest as swin_digits.py.
"""

_base_ = ["swin_digits.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="vit_backbones.MViT",
        arch="mvitv2_t",
        embed_dims=32,
        depths=(1, 2),
        num_heads=1,
        mlp_ratio=2,
        patch_kernel=3,
        patch_stride=2,
        kv_stride=2,
        img_size=16,
        init_cfg=dict(type="Kaiming", layer="Linear", mode="fan_in", nonlinearity="linear"),
    ),
    head=dict(in_channels=64),
)
