"""MViTv2's 36 epochs on COCO: 67,500 iterations of 64 images (projects/MViTv2 of detectron2)."""

optim_wrapper = dict(
    type="AmpOptimWrapper",
    optimizer=dict(type="AdamW", fused=True, lr=1.6e-4, weight_decay=0.1, betas=(0.9, 0.999)),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys=dict(rel_pos_h=dict(decay_mult=0.0), rel_pos_w=dict(decay_mult=0.0)),
    ),
)
param_scheduler = [
    dict(type="LinearLR", by_epoch=False, start_factor=1e-3, end=250),
    dict(type="MultiStepLR", by_epoch=False, end=67500, milestones=[52500, 62500], gamma=0.1),
]
train_cfg = dict(by_epoch=False, max_iters=67500, val_interval=5000)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
