"""MViTv2-B on ImageNet-1k from scratch: 84.4 % top-1. Source: as mvitv2_t_imagenet.py."""

_base_ = ["mvitv2_t_imagenet.py"]

model = dict(backbone=dict(arch="mvitv2_b", drop_path_rate=0.3))
