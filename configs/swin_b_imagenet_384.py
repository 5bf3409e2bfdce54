"""Swin-B fine-tuned at 384x384 with windows of 12, from weights trained at 224: 84.5 % top-1.

    tools/train.py configs/swin_b_imagenet_384.py --pretrained FILE --data-root FOLDER

FILE is a Swin-B trained with windows of 7; its tables are resized to 12.

Source: Liu et al. 2021 (arXiv:2103.14030), table 1 and appendix A2.1 (30 epochs, batch size 1024,
constant learning rate 1e-5, weight decay 1e-8); augmentation as before.

8 GPUs with 64 images each: tools/dist_train.sh configs/swin_b_imagenet_384.py 8 --auto-scale-lr
"""

_base_ = ["swin_b_imagenet.py"]

model = dict(
    backbone=dict(
        img_size=384, window_size=12, init_cfg=dict(type="Pretrained", checkpoint=None)
    ),  # --pretrained
)

bgr_mean = [103.53, 116.28, 123.675]
bgr_std = [57.375, 57.12, 58.395]
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=384, backend="pillow", interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(
        type="RandAugment",
        policies="timm_increasing",
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[round(x) for x in bgr_mean], interpolation="bicubic"),
    ),
    dict(
        type="RandomErasing",
        erase_prob=0.25,
        mode="rand",
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=bgr_mean,
        fill_std=bgr_std,
    ),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(384, 384), backend="pillow", interpolation="bicubic"),
    dict(type="PackInputs"),
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=1e-5, weight_decay=1e-8))
param_scheduler = [dict(type="ConstantLR", factor=1.0, by_epoch=True, begin=0, end=30)]
train_cfg = dict(max_epochs=30)
