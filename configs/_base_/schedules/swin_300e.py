"""Swin's optimisation: AdamW, 300 epochs, batch size 1024 (Liu et al. 2021, appendix A2.1; the
authors' config.py, whose learning rates are for 512 images). DeiT's with a longer warm-up.
"""

_base_ = ["deit_300e.py"]

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "_delete_": True,
            ".absolute_pos_embed": dict(decay_mult=0.0),
            ".relative_position_bias_table": dict(decay_mult=0.0),
            ".cpb_mlp": dict(decay_mult=0.0),
            ".logit_scale": dict(decay_mult=0.0),
        },
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, end=20, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-5, begin=20, convert_to_iter_based=True),
]
