"""Mask2Former on digit scenes: instances, nothing to download.

It starts from the classifier that mvit_digits.py trains. The encoder is the classifier's, with
patches every 4 pixels in place of 2: the scenes' digits are about twice as large as the 16 pixels
of the classifier's images. The learning rate is for two processes, tools/dist_train.sh
configs/mask2former_mvit_digits.py 2.
"""

_base_ = ["_base_/datasets/digit_scenes_masks.py", "_base_/schedules/digit_scenes.py"]

width = 64
attention = dict(embed_dims=width, num_heads=4, dropout=0.0, batch_first=True)
ffn = dict(
    embed_dims=width,
    feedforward_channels=4 * width,
    num_fcs=2,
    ffn_drop=0.0,
    act_cfg=dict(type="ReLU", inplace=True),
)
model = dict(
    type="Mask2Former",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[127.5] * 3,
        std=[127.5] * 3,
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_mask=True,
        mask_pad_value=0,
    ),
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
        type="Mask2FormerHead",
        in_channels=[32, 64],
        strides=[4, 8],
        feat_channels=width,
        out_channels=width,
        num_things_classes=10,
        num_stuff_classes=0,
        num_queries=20,
        num_transformer_feat_level=1,
        pixel_decoder=dict(
            type="MSDeformAttnPixelDecoder",
            num_outs=1,
            norm_cfg=dict(type="GN", num_groups=8),
            act_cfg=dict(type="ReLU"),
            encoder=dict(
                num_layers=1,
                layer_cfg=dict(
                    self_attn_cfg=dict(**attention, num_levels=1, num_points=4), ffn_cfg=ffn
                ),
            ),
            positional_encoding=dict(num_feats=width // 2, normalize=True),
        ),
        enforce_decoder_input_project=False,
        positional_encoding=dict(num_feats=width // 2, normalize=True),
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=3,
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
            init_cfg=None,
        ),
        loss_cls=dict(
            type="CrossEntropyLoss",
            use_sigmoid=False,
            loss_weight=4.0,
            reduction="mean",
            class_weight=[1.0] * 10 + [0.1],
        ),
        loss_mask=dict(
            type="CrossEntropyLoss", use_sigmoid=True, reduction="mean", loss_weight=5.0
        ),
        loss_dice=dict(
            type="DiceLoss",
            use_sigmoid=True,
            activate=True,
            reduction="mean",
            naive_dice=True,
            eps=1.0,
            loss_weight=5.0,
        ),
    ),
    panoptic_fusion_head=dict(
        type="MaskFormerFusionHead",
        num_things_classes=10,
        num_stuff_classes=0,
        loss_panoptic=None,
        init_cfg=None,
    ),
    train_cfg=dict(
        num_points=1024,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
        assigner=dict(
            type="HungarianAssigner",
            match_costs=[
                dict(type="ClassificationCost", weight=2.0),
                dict(type="CrossEntropyLossCost", weight=5.0, use_sigmoid=True),
                dict(type="DiceCost", weight=5.0, pred_act=True, eps=1.0),
            ],
        ),
        sampler=dict(type="MaskPseudoSampler"),
    ),
    test_cfg=dict(
        panoptic_on=False, semantic_on=False, instance_on=True, max_per_image=20, iou_thr=0.8
    ),
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
