"""DeiT's optimisation: AdamW, 300 epochs, batch size 1024 (Touvron et al. 2021, table 9; main.py).

Layer-wise decay is off (1.0) and one option away:
--cfg-options optim_wrapper.paramwise_cfg.layer_decay_rate=0.75
"""

optim_wrapper = dict(
    type="AmpOptimWrapper",
    constructor="vit_backbones.LayerDecayOptimWrapperConstructor",
    optimizer=dict(
        type="AdamW",
        fused=True,
        lr=5e-4 * 1024 / 512,
        weight_decay=0.05,
        eps=1e-8,
        betas=(0.9, 0.999),
    ),
    paramwise_cfg=dict(
        layer_decay_rate=1.0,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={".cls_token": dict(decay_mult=0.0), ".pos_embed": dict(decay_mult=0.0)},
    ),
    # Not in DeiT. It bounds the rare spike of float16; the norm is mostly below it.
    clip_grad=dict(max_norm=5.0),
)

param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-5, begin=5, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=1024)
