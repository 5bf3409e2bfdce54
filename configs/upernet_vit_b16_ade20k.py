"""UPerNet with ViT-B/16 from MAE on ADE20K, 160,000 iterations: 48.1 mIoU with mmseg's encoder.

Source: He et al., "Masked Autoencoders" (arXiv:2111.06377), and mmseg's
mae-base_upernet_8xb2-amp-160k_ade20k-512x512.py: layer-wise decay by 0.65, stochastic depth 0.1. As
there, relative positions are added, zero at first; here they are ViTDet's (decomposed) in place of
BEiT's (a table per block), and there is no LayerScale, which mmseg's encoder has, 1 at first. The
encoder starts from MAE, trained on ImageNet-1k without labels.

8 GPUs with 2 images each: tools/dist_train.sh configs/upernet_vit_b16_ade20k.py 8
"""

_base_ = [
    "mmseg::_base_/models/upernet_mae.py",
    "mmseg::_base_/datasets/ade20k.py",
    "_base_/schedules/upernet_160k.py",
    "_base_/segmentation_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(
        _delete_=True,
        type="vit_backbones.VisionTransformer",
        arch="mae_b16",
        position=("learned", "decomposed"),
        img_size=512,
        pretrain_img_size=224,
        final_norm=False,
        out_indices=(3, 5, 7, 11),
        out_type="featmap",
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint="timm/vit_base_patch16_224.mae"),
    ),
    decode_head=dict(in_channels=[768] * 4, channels=768, num_classes=150),
    auxiliary_head=dict(in_channels=768, num_classes=150),
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
train_dataloader = dict(batch_size=2)

no_decay = dict(decay_mult=0.0)
optim_wrapper = dict(
    type="AmpOptimWrapper",
    optimizer=dict(lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(
        layer_decay_rate=0.65,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys=dict(_delete_=True, cls_token=no_decay, pos_embed=no_decay),
    ),
)
