"""Plain DETR on digit scenes: boxes, nothing to download.

It starts from the classifier that vit_many_digits.py trains. The encoder is the classifier's, with
patches of 8 pixels in place of 4, as in mask_rcnn_vit_digits.py.
"""

_base_ = [
    "_base_/models/detr.py",
    "_base_/datasets/digit_scenes_det.py",
    "_base_/schedules/digit_scenes.py",
]

width = 128
attention = dict(embed_dims=width, num_heads=4, dropout=0.0)
ffn = dict(embed_dims=width, feedforward_channels=2 * width, ffn_drop=0.0)
model = dict(
    num_queries=20,
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        type="vit_backbones.VisionTransformer",
        arch=dict(embed_dims=64, depth=4, num_heads=2, mlp_ratio=2),
        img_size=96,
        patch_size=8,
        position=("learned", "rope2d"),
        attention=dict(type="local", kernel_size=7),
        out_type="featmap",
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/vit_many_digits"),
    ),
    neck=dict(in_channels=[64], out_channels=width),
    encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
    decoder=dict(
        num_layers=3,
        layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
    ),
    # in patches, with waves from 6 of them on: the usual one, of the whole image and longer, tells
    # the places of so small a map hardly apart
    positional_encoding=dict(num_feats=width // 2, normalize=False, temperature=100),
    bbox_head=dict(num_classes=10, embed_dims=width),
    test_cfg=dict(max_per_img=20),
)

# Squares, so that boxes, told in parts of the image, and places in the map agree
pad = dict(type="Pad", size=(96, 96), pad_val=dict(img=(127, 127, 127)))
train_pipeline = [*_base_.train_pipeline[:3], pad, *_base_.train_pipeline[3:]]
test_pipeline = [*_base_.test_pipeline[:2], pad, *_base_.test_pipeline[2:]]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(
    _delete_=True,
    optimizer=dict(type="AdamW", lr=2e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.1),
)
train_cfg = dict(max_epochs=16)
