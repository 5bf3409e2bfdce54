"""DINO's 12 epochs (Zhang et al. 2023, arXiv:2203.03605; the authors' DINO_4scale.py): AdamW, a
tenth of the learning rate for the encoder, all of it divided by 10 after epoch 11. 16 images in a
batch.
"""

optim_wrapper = dict(
    optimizer=dict(type="AdamW", fused=True, lr=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
    clip_grad=dict(max_norm=0.1, norm_type=2),
)
param_scheduler = [dict(type="MultiStepLR", end=12, milestones=[11], gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=12, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=16)
