"""Cascade Mask R-CNN with MViTv2-B on COCO, 36 epochs: 54.1 box AP, 46.7 mask AP with detectron2.

Source: Li et al., "MViTv2" (arXiv:2112.01526), and the authors'
projects/MViTv2/configs/cascade_mask_rcnn_mvitv2_b_3x.py in detectron2, whose README has these
scores: heads of four convolutions with batch norm over all GPUs, L1 losses. detectron2 scales the
gradients from each of the three stages by 1/3 and has one mask head behind the last; mmdet has a
mask head in each, and here weighs the losses of each stage by 1/3. The encoder starts from
MViTv2-B, trained on ImageNet-1k.

8 GPUs with 8 images each: tools/dist_train.sh configs/cascade_mask_rcnn_mvitv2_b_coco.py 8
"""

_base_ = [
    "mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py",
    "_base_/datasets/coco_instance_multi_scale.py",
    "_base_/schedules/mvitv2_detection_36e.py",
    "_base_/detection_iterations_runtime.py",
]

norm = dict(type="SyncBN", requires_grad=True)
l1 = dict(type="L1Loss", loss_weight=1.0)
bbox_heads = _base_.model.roi_head.bbox_head
for head in bbox_heads:
    head.type, head.norm_cfg, head.loss_bbox = "Shared4Conv1FCBBoxHead", norm, l1

model = dict(
    backbone=dict(
        _delete_=True,
        type="vit_backbones.MViT",
        arch="mvitv2_b",
        out_indices=(0, 1, 2, 3),
        window_size=56,
        drop_path_rate=0.4,
        init_cfg=dict(type="Pretrained", checkpoint="timm/mvitv2_base.fb_in1k"),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
    rpn_head=dict(num_convs=2, loss_bbox=dict(_delete_=True, **l1)),
    roi_head=dict(
        stage_loss_weights=[1 / 3] * 3, bbox_head=bbox_heads, mask_head=dict(norm_cfg=norm)
    ),
    train_cfg=dict(rpn=dict(allowed_border=-1), rpn_proposal=dict(max_per_img=1000)),
)
train_dataloader = dict(sampler=dict(type="InfiniteSampler"), batch_size=8, num_workers=4)
