"""DINO on digit scenes: boxes, nothing to download.

It starts from the classifier that swin_digits.py trains. The encoder is the classifier's, with
patches of 4 pixels in place of 2: the scenes' digits are about twice as large as the 16 pixels of
the classifier's images.

The learning rate is for two processes, tools/dist_train.sh configs/dino_swin_digits.py 2: on two
cores they see in a step's time nearly twice the images of one with two threads.

mmdet 3.3.0 itself has DINO at a width of 256 only; onedl-mmdetection has it at any.
"""

_base_ = ["_base_/datasets/digit_scenes_det.py", "_base_/schedules/digit_scenes.py"]

width = 96
model = dict(
    type="DINO",
    num_queries=30,
    with_box_refine=True,
    as_two_stage=True,
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
        type="ChannelMapper",
        in_channels=[96, 192],
        kernel_size=1,
        out_channels=width,
        act_cfg=None,
        norm_cfg=dict(type="GN", num_groups=8),
        num_outs=3,  # strides 8, 16, 32
    ),
    encoder=dict(
        num_layers=2,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=width, num_heads=4, num_levels=3, dropout=0.0),
            ffn_cfg=dict(embed_dims=width, feedforward_channels=2 * width, ffn_drop=0.0),
        ),
    ),
    decoder=dict(
        num_layers=2,
        return_intermediate=True,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=width, num_heads=4, dropout=0.0),
            cross_attn_cfg=dict(embed_dims=width, num_heads=4, num_levels=3, dropout=0.0),
            ffn_cfg=dict(embed_dims=width, feedforward_channels=4 * width, ffn_drop=0.0),
        ),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(num_feats=width // 2, normalize=True, offset=0.0, temperature=20),
    bbox_head=dict(
        type="DINOHead",
        num_classes=10,
        embed_dims=width,
        sync_cls_avg_factor=True,
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0),
        loss_bbox=dict(type="L1Loss", loss_weight=5.0),
        loss_iou=dict(type="GIoULoss", loss_weight=2.0),
    ),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=24),
    ),
    train_cfg=dict(
        assigner=dict(
            type="HungarianAssigner",
            match_costs=[
                dict(type="FocalLossCost", weight=2.0),
                dict(type="BBoxL1Cost", weight=5.0, box_format="xywh"),
                dict(type="IoUCost", iou_mode="giou", weight=2.0),
            ],
        )
    ),
    test_cfg=dict(max_per_img=30),
)

optim_wrapper = dict(optimizer=dict(lr=1.1e-3))
auto_scale_lr = dict(base_batch_size=8)
train_cfg = dict(max_epochs=5)
