"""DINO with Swin-L and five maps, from stride 4 on, on COCO, 12 epochs.

Source: Zhang et al., "DINO" (arXiv:2203.03605), and the authors' config/DINO/DINO_5scale_swin.py.
The encoder starts from Swin-L (arXiv:2103.14030), trained on ImageNet-22k at 384x384.

16 GPUs with 1 image each, say 2 nodes with tools/dist_train.sh configs/dino_swin_l_coco.py 8
"""

_base_ = [
    "_base_/models/dino.py",
    "_base_/datasets/coco_multi_scale.py",
    "_base_/schedules/dino_12e.py",
    "_base_/detection_runtime.py",
]

levels = dict(num_levels=5)
model = dict(
    num_feature_levels=5,
    backbone=dict(
        type="vit_backbones.SwinTransformer",
        arch="swin_l",
        window_size=12,
        out_indices=(0, 1, 2, 3),
        pad_small_map=True,
        drop_path_rate=0.2,
        with_cp=True,
        init_cfg=dict(type="Pretrained", checkpoint="timm/swin_large_patch4_window12_384.ms_in22k"),
    ),
    neck=dict(in_channels=[192, 384, 768, 1536], num_outs=5),
    encoder=dict(layer_cfg=dict(self_attn_cfg=levels)),
    decoder=dict(layer_cfg=dict(cross_attn_cfg=levels)),
)
train_dataloader = dict(batch_size=1)
