"""Segmenter with ViT-B/16 and its mask transformer on ADE20K, 160,000 iterations: 48.5 mIoU.

Source: Strudel et al., "Segmenter" (arXiv:2105.05633), the authors' segm/train.py, config.yml and
README: SGD with Nesterov's momentum (timm's "sgd"), learning rate 1e-3 with polynomial decay, no
weight decay, stochastic depth 0.1 in the encoder, dropout 0.1 in the decoder, 64 epochs in batches
of 8; tested on squares of 512 pixels that don't overlap. The encoder starts from AugReg's ViT-B/16
(arXiv:2106.10270), trained on ImageNet-21k, then on ImageNet-1k at 384x384; images get its mean and
deviation of 0.5.

8 GPUs with 1 image each: tools/dist_train.sh configs/segmenter_vit_b16_ade20k.py 8
"""

_base_ = [
    "mmseg::_base_/models/segmenter_vit-b16_mask.py",
    "mmseg::_base_/datasets/ade20k.py",
    "_base_/segmentation_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type="vit_backbones.VisionTransformer",
        arch="vit_b16",
        img_size=512,
        out_type="featmap",
        drop_path_rate=0.1,
        init_cfg=dict(
            type="Pretrained", checkpoint="timm/vit_base_patch16_384.augreg_in21k_ft_in1k"
        ),
    ),
    decode_head=dict(drop_rate=0.1, attn_drop_rate=0.1, drop_path_rate=0.0),
    test_cfg=dict(stride=(512, 512)),
)
train_dataloader = dict(batch_size=1)

optim_wrapper = dict(
    optimizer=dict(type="SGD", lr=1e-3, momentum=0.9, nesterov=True, weight_decay=0.0)
)
param_scheduler = [dict(type="PolyLR", by_epoch=False, power=0.9, eta_min=1e-5, end=160000)]
train_cfg = dict(by_epoch=False, max_iters=160000, val_interval=5000)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=8)
