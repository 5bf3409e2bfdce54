"""Swin-B fine-tuned at 384x384 with windows of 12, from weights trained at 224: 84.5 % top-1.

    tools/train.py configs/swin_b_imagenet_384.py --pretrained FILE --data-root FOLDER

FILE is a Swin-B trained with windows of 7; its tables are resized to 12.

Source: Liu et al. 2021 (arXiv:2103.14030), table 1, and the authors'
swin_base_patch4_window12_384_finetune.yaml, whose learning rates are for 512 images: 30 epochs, 5
of them warm-up, batch size 1024, stochastic depth 0.5. Appendix A2.1 has a constant rate of 1e-5
and 0.1 instead. Augmentation as before.

8 GPUs with 64 images each: tools/dist_train.sh configs/swin_b_imagenet_384.py 8 --auto-scale-lr
"""

_base_ = ["swin_b_imagenet.py"]

model = dict(
    backbone=dict(
        img_size=384,
        window_size=12,
        init_cfg=dict(type="Pretrained", checkpoint=None),  # --pretrained
    ),
)

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[1].scale = 384
# the whole image, squeezed into the square
test_pipeline[1:3] = [
    dict(type="Resize", scale=(384, 384), backend="pillow", interpolation="bicubic")
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=2e-5 * 1024 / 512, weight_decay=1e-8))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=4e-7, begin=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=30)
