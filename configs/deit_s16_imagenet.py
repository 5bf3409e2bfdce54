"""DeiT-S/16 on ImageNet-1k from scratch, without distillation: 79.8 % top-1 at 224x224.

Source: as vit_b16_imagenet.py, whose settings DeiT uses for all its sizes (table 9; the score is
in table 5). 4 GPUs with 256 images each: tools/dist_train.sh configs/deit_s16_imagenet.py 4
"""

_base_ = ["vit_b16_imagenet.py"]

model = dict(backbone=dict(arch="deit_s16"), head=dict(in_channels=384))
train_dataloader = dict(batch_size=256)
