"""MViTv2-T on ImageNet-1k from scratch with its authors' recipe: 82.3 % top-1 at 224x224.

Source: Li et al., "MViTv2" (arXiv:2112.01526), table 1 and appendix, configs/MVITv2_T.yaml and the
defaults of the authors' code: RandAugment with six operations, learning rate 2.5e-4 for 256 images,
warm-up of 70 epochs, gradients clipped at 1, no weight decay on vectors; no EMA.

8 GPUs with 256 images each: tools/dist_train.sh configs/mvitv2_t_imagenet.py 8
"""

_base_ = ["swin_t_imagenet.py"]

model = dict(
    backbone=dict(type="vit_backbones.MViT", arch="mvitv2_t", drop_path_rate=0.1),
)

train_pipeline = _base_.train_pipeline
train_pipeline[3].num_policies = 6
train_dataloader = dict(batch_size=256, dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    optimizer=dict(lr=2.5e-4 * 2048 / 256),
    paramwise_cfg=dict(custom_keys=dict(_delete_=True)),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, end=70, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=8e-6, begin=70, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=2048)
