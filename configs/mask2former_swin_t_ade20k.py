"""Mask2Former with Swin-T on ADE20K, 160,000 iterations: 47.7 mIoU.

Source: Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation"
(arXiv:2112.01527), the authors' configs/ade20k/semantic-segmentation/swin/
maskformer2_swin_tiny_bs16_160k.yaml and MODEL_ZOO.md. The encoder starts from Swin-T
(arXiv:2103.14030), trained on ImageNet-1k.

8 GPUs with 2 images each: tools/dist_train.sh configs/mask2former_swin_t_ade20k.py 8
"""

_base_ = [
    "_base_/models/mask2former.py",
    "mmseg::_base_/datasets/ade20k.py",
    "_base_/schedules/mask2former.py",
    "_base_/segmentation_runtime.py",
]

custom_imports = dict(imports=["vit_backbones", "mmdet.models"])

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
        test_cfg=dict(size_divisor=32),
    ),
    backbone=dict(
        type="vit_backbones.SwinTransformer",
        arch="swin_t",
        out_indices=(0, 1, 2, 3),
        pad_small_map=True,
        drop_path_rate=0.3,
        init_cfg=dict(type="Pretrained", checkpoint="timm/swin_tiny_patch4_window7_224.ms_in1k"),
    ),
    decode_head=dict(
        in_channels=[96, 192, 384, 768],
        num_classes=150,
        train_cfg=_base_.mask2former_train_cfg,
        **_base_.mask2former_head,
    ),
    test_cfg=dict(mode="whole"),
)
model["decode_head"]["loss_cls"]["class_weight"] = [1.0] * 150 + [0.1]

train_pipeline = _base_.train_pipeline
train_pipeline[2] = dict(
    type="RandomChoiceResize",
    scales=[512 * tenths // 10 for tenths in range(5, 21)],
    resize_type="ResizeShortestEdge",
    max_size=2048,
)
train_pipeline[3].cat_max_ratio = 1.0  # crops of one class alone are kept
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))

param_scheduler = [dict(type="PolyLR", by_epoch=False, power=0.9, eta_min=0.0, end=160000)]
train_cfg = dict(by_epoch=False, max_iters=160000, val_interval=5000)
