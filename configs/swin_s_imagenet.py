"""Swin-S on ImageNet-1k from scratch: 83.0 % top-1 at 224x224. Source: as swin_t_imagenet.py."""

_base_ = ["swin_t_imagenet.py"]

model = dict(backbone=dict(arch="swin_s", drop_path_rate=0.3))
