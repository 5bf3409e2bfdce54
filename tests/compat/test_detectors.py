"""mmdet's own detectors train and predict on the CPU with the stand-in for mmcv's ops."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import vit_backbones  # noqa: F401  (repairs)

HEIGHT, WIDTH = 64, 96


def shrink(node) -> None:
    """One layer, ResNet-18 and few queries in place of a config's full size, in place."""
    small = {"num_layers": 1, "feedforward_channels": 32, "num_queries": 10, "max_per_img": 5}
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, (dict, list)):
            shrink(value)
        elif key in small:
            node[key] = small[key]


def tiny_model(config: str):
    import mmdet
    from mmdet.registry import MODELS

    init_default_scope("mmdet")
    model = Config.fromfile(Path(mmdet.__file__).parent / ".mim/configs" / config).model
    shrink(model)
    model.backbone.update(depth=18, init_cfg=None)
    wide, narrow = (256, 512, 1024, 2048), (64, 128, 256, 512)
    model.neck.in_channels = [narrow[wide.index(c)] for c in model.neck.in_channels]
    if "roi_head" in model:  # untrained scores are low: keep some boxes for the mask head
        model.test_cfg.rcnn.score_thr = 0.0
    elif "nms" in model.test_cfg:
        model.test_cfg.score_thr = 0.0
    else:
        model.test_cfg = ConfigDict(max_per_img=5)
    torch.manual_seed(0)
    detector = MODELS.build(model)
    detector.init_weights()
    return detector


def batch():
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    shape = {f"{kind}_shape": (HEIGHT, WIDTH) for kind in ("img", "ori", "pad", "batch_input")}
    sample = DetDataSample(metainfo=dict(**shape, scale_factor=(1.0, 1.0)))
    masks = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    masks[0, 5:40, 5:40] = masks[1, 20:60, 30:90] = 1
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[5.0, 5, 40, 40], [30, 20, 90, 60]]),
        labels=torch.tensor([1, 5]),
        masks=BitmapMasks(masks, HEIGHT, WIDTH),
    )
    image = torch.randint(0, 256, (3, HEIGHT, WIDTH), dtype=torch.uint8)
    return {"inputs": [image], "data_samples": [sample]}


@pytest.mark.parametrize(
    "config",
    [
        "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py",
        "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
        "vfnet/vfnet_r50_fpn_1x_coco.py",  # deformable convolution
    ],
)
def test_a_detector_trains_and_predicts(config):
    model = tiny_model(config)
    losses = model(**model.data_preprocessor(batch(), training=True), mode="loss")
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert loss.isfinite()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    model.eval()
    with torch.no_grad():
        (result,) = model(**model.data_preprocessor(batch()), mode="predict")
    assert len(result.pred_instances) > 0
    assert result.pred_instances.bboxes.isfinite().all()
    if "mask_rcnn" in config:
        assert result.pred_instances.masks.shape[1:] == (HEIGHT, WIDTH)
