"""Mask2Former with Swin-T for instances on COCO, 50 epochs: 45.0 mask AP.

Source: Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation"
(arXiv:2112.01527), the authors' configs/coco/instance-segmentation/swin/
maskformer2_swin_tiny_bs16_50ep.yaml and MODEL_ZOO.md. The encoder starts from Swin-T
(arXiv:2103.14030), trained on ImageNet-1k.

8 GPUs with 2 images each: tools/dist_train.sh configs/mask2former_swin_t_coco_instance.py 8
"""

_base_ = [
    "_base_/models/mask2former_coco.py",
    "_base_/datasets/coco_instance_lsj.py",
    "_base_/schedules/mask2former_coco_50e.py",
    "_base_/detection_iterations_runtime.py",
]

classes = dict(num_things_classes=80, num_stuff_classes=0)
model = dict(
    backbone=dict(
        type="vit_backbones.SwinTransformer",
        arch="swin_t",
        out_indices=(0, 1, 2, 3),
        pad_small_map=True,
        drop_path_rate=0.3,
        init_cfg=dict(type="Pretrained", checkpoint="timm/swin_tiny_patch4_window7_224.ms_in1k"),
    ),
    panoptic_head=dict(
        in_channels=[96, 192, 384, 768],
        loss_cls=dict(class_weight=[1.0] * 80 + [0.1]),
        **classes,
    ),
    panoptic_fusion_head=classes,
)
default_hooks = dict(checkpoint=dict(save_best="coco/segm_mAP"))
