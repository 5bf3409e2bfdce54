"""Swin's 160,000 iterations of 16 images on ADE20K (Liu et al. 2021, arXiv:2103.14030; the authors'
configs): AdamW, linear warm-up and decay, no weight decay of norms and position parameters.
"""

no_decay = dict(decay_mult=0.0)
optim_wrapper = dict(
    constructor="vit_backbones.LayerDecayOptimWrapperConstructor",
    optimizer=dict(type="AdamW", fused=True, lr=6e-5, weight_decay=0.01, betas=(0.9, 0.999)),
    paramwise_cfg=dict(
        layer_decay_rate=1.0,
        norm_decay_mult=0.0,
        custom_keys=dict(relative_position_bias_table=no_decay),
    ),
)
param_scheduler = [
    dict(type="LinearLR", by_epoch=False, start_factor=1e-6, end=1500),
    dict(type="PolyLR", by_epoch=False, power=1.0, eta_min=0.0, begin=1500, end=160000),
]
train_cfg = dict(by_epoch=False, max_iters=160000, val_interval=5000)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=16)
