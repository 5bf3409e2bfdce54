"""UPerNet on digit scenes: a class for each pixel, nothing to download.

It starts from the classifier that swin_large_digits.py trains. The encoder is as in
dino_swin_digits.py. The learning rate is for two processes, tools/dist_train.sh
configs/upernet_swin_digits.py 2. It learns from squares of 128 pixels, cut from scenes whose
shorter side has 128 pixels at first and 160 later, at the same cost.
"""

_base_ = ["_base_/datasets/digit_scenes_seg.py", "_base_/schedules/digit_scenes.py"]

norm_cfg = dict(type="GN", num_groups=8)  # after an epoch 1 mIoU better than BN
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[127.5] * 3,
        std=[127.5] * 3,  # as the classifiers of the digits have it
        bgr_to_rgb=True,
        size_divisor=16,  # training has no padding: with 64 the mIoU of BN's model was 2.5 lower
        pad_val=0,
        seg_pad_val=255,
        test_cfg=dict(size_divisor=16),
    ),
    backbone=dict(
        type="vit_backbones.SwinTransformer",
        arch=dict(
            embed_dims=48, depths=(2, 2, 2), num_heads=(3, 6, 12), window_size=4, mlp_ratio=2
        ),
        patch_size=4,
        out_indices=(0, 1, 2),
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/swin_large_digits/epoch_120.pth"),
    ),
    decode_head=dict(
        type="UPerHead",
        in_channels=[48, 96, 192],
        in_index=[0, 1, 2],
        pool_scales=(1, 2, 3, 6),
        channels=48,
        dropout_ratio=0.1,
        num_classes=11,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=192,
        in_index=2,
        channels=64,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=11,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True, loss_weight=1.5),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

last_pipeline = _base_.train_pipeline
train_pipeline = [dict(s, scale=(1024, 128)) if "scale" in s else s for s in last_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
custom_hooks = [
    dict(type="mmdet.PipelineSwitchHook", switch_epoch=3, switch_pipeline=last_pipeline)
]

optim_wrapper = dict(
    optimizer=dict(lr=2e-2),  # at 2e-3 the new layers find hardly a digit in an epoch
    paramwise_cfg=dict(encoder_lr_mult=0.05),
)
auto_scale_lr = dict(base_batch_size=8)
train_cfg = dict(max_epochs=6, val_interval=1)
