"""DINO with Swin-T on COCO, 12 epochs.

Source: Zhang et al., "DINO" (arXiv:2203.03605), and its authors' detrex,
projects/dino/configs/dino-swin/dino_swin_tiny_224_4scale_12ep.py: 51.3 box AP there, from the same
Swin-T (arXiv:2103.14030), trained on ImageNet-1k.

8 GPUs with 2 images each: tools/dist_train.sh configs/dino_swin_t_coco.py 8
"""

_base_ = [
    "_base_/models/dino.py",
    "_base_/datasets/coco_multi_scale.py",
    "_base_/schedules/dino_12e.py",
    "_base_/detection_runtime.py",
]

model = dict(
    backbone=dict(
        type="vit_backbones.SwinTransformer",
        arch="swin_t",
        out_indices=(1, 2, 3),
        pad_small_map=True,
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint="timm/swin_tiny_patch4_window7_224.ms_in1k"),
    ),
    neck=dict(in_channels=[192, 384, 768]),
)
