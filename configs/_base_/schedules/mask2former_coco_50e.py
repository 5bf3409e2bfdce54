"""Mask2Former's 50 epochs on COCO: 368,750 iterations of 16 images; rate / 10 at 8/9 and 26/27."""

_base_ = ["mask2former.py"]

param_scheduler = [
    dict(type="MultiStepLR", by_epoch=False, end=368750, milestones=[327778, 355092], gamma=0.1)
]
train_cfg = dict(by_epoch=False, max_iters=368750, val_interval=5000)
