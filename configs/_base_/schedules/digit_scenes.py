"""AdamW for small detectors and segmenters that start from a classifier of the digits; the learning
rate and the number of epochs are the recipe's.
"""

optim_wrapper = dict(
    constructor="vit_backbones.LayerDecayOptimWrapperConstructor",
    optimizer=dict(type="AdamW", weight_decay=0.05, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, end=100, by_epoch=False),
    dict(type="CosineAnnealingLR", eta_min=1e-6, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True)
val_cfg = dict()
test_cfg = dict()
