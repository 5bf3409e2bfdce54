"""ViT-L/16 fine-tuned on ImageNet-1k at 384x384, from weights trained at 224 on a larger set:

    tools/train.py configs/vit_l16_imagenet_384.py --pretrained FILE --data-root FOLDER

FILE is any published ViT-L/16 (say AugReg's, trained on ImageNet-21k); its positions are resized.

Source: Dosovitskiy et al. 2021 (arXiv:2010.11929), appendix B.1.1 and table 4: SGD, 20,000 steps of
512 images, cosine decay, no weight decay, gradients clipped at 1; learning rate, warm-up and images
as in the authors' vit_jax/configs/common.py and input_pipeline.py. With many layers to keep,
layer-wise decay may help:
--cfg-options optim_wrapper.paramwise_cfg.layer_decay_rate=0.75

8 GPUs with 64 images each: tools/dist_train.sh configs/vit_l16_imagenet_384.py 8 --pretrained FILE
"""

_base_ = ["_base_/datasets/imagenet_224.py", "_base_/default_runtime.py"]

model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="vit_backbones.VisionTransformer",
        arch="vit_l16",
        img_size=384,
        init_cfg=dict(type="Pretrained", checkpoint=None),  # --pretrained
    ),
    head=dict(type="VisionTransformerClsHead", num_classes=1000, in_channels=1024),
)

data_preprocessor = dict(mean=[127.5] * 3, std=[127.5] * 3)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=384, crop_ratio_range=(0.05, 1.0)),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
test_pipeline = _base_.test_pipeline
# the whole image, squeezed into the square
test_pipeline[1:3] = [dict(type="Resize", scale=(384, 384), interpolation="bilinear")]
train_dataloader = dict(
    batch_size=64,
    dataset=dict(pipeline=train_pipeline),
    sampler=dict(type="InfiniteSampler", shuffle=True, _delete_=True),
)
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(
    type="AmpOptimWrapper",
    constructor="vit_backbones.LayerDecayOptimWrapperConstructor",
    optimizer=dict(type="SGD", lr=0.03, momentum=0.9, weight_decay=0.0),
    paramwise_cfg=dict(layer_decay_rate=1.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", by_epoch=False, start_factor=1e-3, end=500),
    dict(type="CosineAnnealingLR", by_epoch=False, eta_min=0, begin=500),
]
train_cfg = dict(by_epoch=False, max_iters=20000, val_interval=1000)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=512)

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=1000))
log_processor = dict(by_epoch=False)
env_cfg = dict(cudnn_benchmark=True)
