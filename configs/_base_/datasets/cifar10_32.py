"""CIFAR-10 at its own size, with the augmentation of small ViTs trained from scratch."""

data_preprocessor = dict(
    num_classes=10,
    mean=[125.307, 122.961, 113.8575],
    std=[51.5865, 50.847, 51.255],
    to_rgb=False,  # CIFAR10 holds its images as RGB
)

train_pipeline = [
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="RandomCrop", crop_size=32, padding=4),
    dict(
        type="RandAugment",
        policies="timm_increasing",
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[round(x) for x in data_preprocessor["mean"]]),
    ),
    dict(
        type="RandomErasing",
        erase_prob=0.25,
        max_area_ratio=0.4,
        fill_color=data_preprocessor["mean"],
    ),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="Resize", scale=(32, 32)),  # for tools/predict.py; CIFAR-10 has this size
    dict(type="PackInputs"),
]

train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    drop_last=True,
    dataset=dict(type="CIFAR10", data_root="data/cifar10", split="train", pipeline=train_pipeline),
    sampler=dict(type="RepeatAugSampler", num_repeats=3, shuffle=True),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=4,
    dataset=dict(type="CIFAR10", data_root="data/cifar10", split="test", pipeline=test_pipeline),
    sampler=dict(type="DefaultSampler", shuffle=False),
)
val_evaluator = dict(type="Accuracy", topk=1)
test_dataloader = val_dataloader
test_evaluator = val_evaluator
