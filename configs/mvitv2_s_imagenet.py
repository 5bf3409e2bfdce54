"""MViTv2-S on ImageNet-1k from scratch: 83.6 % top-1. Source: as mvitv2_t_imagenet.py."""

_base_ = ["mvitv2_t_imagenet.py"]

model = dict(backbone=dict(arch="mvitv2_s"))
