"""UPerNet with Swin-T on ADE20K, 160,000 iterations: 44.5 mIoU.

Source: Liu et al., "Swin Transformer" (arXiv:2103.14030), and the authors'
upernet_swin_tiny_patch4_window7_512x512_160k_ade20k.py, whose README has this score. The encoder
starts from Swin-T, trained on ImageNet-1k.

8 GPUs with 2 images each: tools/dist_train.sh configs/upernet_swin_t_ade20k.py 8
"""

_base_ = [
    "mmseg::_base_/models/upernet_swin.py",
    "mmseg::_base_/datasets/ade20k.py",
    "_base_/schedules/upernet_160k.py",
    "_base_/segmentation_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(
        _delete_=True,
        type="vit_backbones.SwinTransformer",
        arch="swin_t",
        out_indices=(0, 1, 2, 3),
        pad_small_map=True,
        drop_path_rate=0.3,
        init_cfg=dict(type="Pretrained", checkpoint="timm/swin_tiny_patch4_window7_224.ms_in1k"),
    ),
    decode_head=dict(num_classes=150),
    auxiliary_head=dict(num_classes=150),
)
train_dataloader = dict(batch_size=2)
