"""Mask2Former's optimisation (Cheng et al. 2022, arXiv:2112.01527; the authors' configs): AdamW,
mixed precision, a tenth of the learning rate for the encoder, no decay of norms and embeddings.
"""

embedding = dict(decay_mult=0.0)
optim_wrapper = dict(
    type="AmpOptimWrapper",
    constructor="vit_backbones.LayerDecayOptimWrapperConstructor",
    optimizer=dict(
        type="AdamW", fused=True, lr=1e-4, weight_decay=0.05, eps=1e-8, betas=(0.9, 0.999)
    ),
    paramwise_cfg=dict(
        encoder_lr_mult=0.1,
        norm_decay_mult=0.0,
        custom_keys={
            "relative_position_bias_table": embedding,
            "query_embed": embedding,
            "query_feat": embedding,
            "level_embed": embedding,
        },
    ),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=16)
