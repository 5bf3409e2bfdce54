"""Mask2Former on digit scenes: instances, nothing to download.

It starts from the classifier that mvit_digits.py trains. The encoder is the classifier's, with
patches every 4 pixels in place of 2: the scenes' digits are about twice as large as the 16 pixels
of the classifier's images. The learning rate is for two processes, tools/dist_train.sh
configs/mask2former_mvit_digits.py 2.
"""

_base_ = [
    "_base_/models/mask2former_coco.py",
    "_base_/datasets/digit_scenes_masks.py",
    "_base_/schedules/digit_scenes.py",
]

width = 64
attention = dict(embed_dims=width, num_heads=4)
ffn = dict(embed_dims=width, feedforward_channels=4 * width)
positional_encoding = dict(num_feats=width // 2)
classes = dict(num_things_classes=10, num_stuff_classes=0)
model = dict(
    data_preprocessor=dict(_base_.data_preprocessor, pad_mask=True, _delete_=True),
    backbone=dict(
        type="vit_backbones.MViT",
        arch="mvitv2_t",
        embed_dims=32,
        depths=(1, 2),
        num_heads=1,
        mlp_ratio=2,
        patch_kernel=7,
        patch_stride=4,
        kv_stride=2,
        img_size=112,
        out_indices=(0, 1),
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/mvit_digits"),
    ),
    panoptic_head=dict(
        in_channels=[32, 64],
        strides=[4, 8],
        feat_channels=width,
        out_channels=width,
        num_queries=20,
        num_transformer_feat_level=1,
        pixel_decoder=dict(
            num_outs=1,
            norm_cfg=dict(num_groups=8),
            encoder=dict(
                num_layers=1,
                layer_cfg=dict(self_attn_cfg=dict(**attention, num_levels=1), ffn_cfg=ffn),
            ),
            positional_encoding=positional_encoding,
        ),
        positional_encoding=positional_encoding,
        transformer_decoder=dict(
            num_layers=3,
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
        ),
        loss_cls=dict(loss_weight=4.0, class_weight=[1.0] * 10 + [0.1]),
        **classes,
    ),
    panoptic_fusion_head=classes,
    train_cfg=dict(num_points=1024),
    test_cfg=dict(max_per_image=20, filter_low_score=False),
)

val_evaluator = dict(metric=["segm"])
test_evaluator = val_evaluator

optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(
        custom_keys=dict(
            query_embed=dict(decay_mult=0.0),
            query_feat=dict(decay_mult=0.0),
            level_embed=dict(decay_mult=0.0),
        ),
    ),
)
auto_scale_lr = dict(base_batch_size=8)
train_cfg = dict(max_epochs=7)
