"""Digit scenes, made on first use, nothing to download: what detectors and segmenters share. The
pipelines and the evaluators are theirs.
"""

_base_ = ["../default_runtime.py"]

data_root = "data/digit_scenes"

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(split="train", data_root=data_root),
)
val_dataloader = dict(
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(split="val", data_root=data_root, test_mode=True),
)
test_dataloader = val_dataloader
