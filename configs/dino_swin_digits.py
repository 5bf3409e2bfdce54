"""DINO on digit scenes: boxes, nothing to download.

It starts from the classifier that swin_digits.py trains. The encoder is the classifier's, with
patches of 4 pixels in place of 2: the scenes' digits are about twice as large as the 16 pixels of
the classifier's images.

The learning rate is for two processes, tools/dist_train.sh configs/dino_swin_digits.py 2: on two
cores they see in a step's time nearly twice the images of one with two threads.

mmdet 3.3.0 itself has DINO at a width of 256 only; onedl-mmdetection has it at any.
"""

_base_ = [
    "_base_/models/dino.py",
    "_base_/datasets/digit_scenes_det.py",
    "_base_/schedules/digit_scenes.py",
]

width = 96
attention = dict(embed_dims=width, num_heads=4)
deformable = dict(**attention, num_levels=3)
model = dict(
    num_queries=30,
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        type="vit_backbones.SwinTransformer",
        arch=dict(
            embed_dims=48, depths=(2, 2, 2), num_heads=(3, 6, 12), window_size=4, mlp_ratio=2
        ),
        patch_size=4,
        out_indices=(1, 2),
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/swin_digits"),
    ),
    neck=dict(
        in_channels=[96, 192],
        out_channels=width,
        norm_cfg=dict(num_groups=8),
        num_outs=3,  # strides 8, 16, 32
    ),
    encoder=dict(
        num_layers=2,
        layer_cfg=dict(
            self_attn_cfg=deformable,
            ffn_cfg=dict(embed_dims=width, feedforward_channels=2 * width),
        ),
    ),
    decoder=dict(
        num_layers=2,
        layer_cfg=dict(
            self_attn_cfg=attention,
            cross_attn_cfg=deformable,
            ffn_cfg=dict(embed_dims=width, feedforward_channels=4 * width),
        ),
    ),
    positional_encoding=dict(num_feats=width // 2),
    bbox_head=dict(num_classes=10, embed_dims=width, loss_cls=dict(loss_weight=2.0)),
    dn_cfg=dict(group_cfg=dict(num_dn_queries=24)),
    test_cfg=dict(max_per_img=30),
)

optim_wrapper = dict(optimizer=dict(lr=1.1e-3))
auto_scale_lr = dict(base_batch_size=8)
train_cfg = dict(max_epochs=5)
