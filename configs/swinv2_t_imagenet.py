"""Swin V2-T on ImageNet-1k from scratch with windows of 8: 81.8 % top-1 at 256x256.

Source: Liu et al., "Swin Transformer V2" (arXiv:2111.09883), and the authors'
configs/swinv2/swinv2_tiny_patch4_window8_256.yaml; the rest as swin_t_imagenet.py.
"""

_base_ = ["swin_t_imagenet.py"]

model = dict(backbone=dict(arch="swinv2_t"))

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[1].scale = 256
test_pipeline[1].scale = 292
test_pipeline[2].crop_size = 256
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
