"""mmpretrain's classifier and heads take the encoder unchanged, from a config."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import OptimWrapper

from vit_backbones import VisionTransformer

from mmpretrain.registry import MODELS  # isort: skip  # after vit_backbones, which repairs it
from mmpretrain.structures import DataSample  # isort: skip

ARCH = dict(embed_dims=16, depth=2, num_heads=2, patch_size=4, img_size=16)
TOKEN = dict(type="VisionTransformerClsHead", num_classes=5, in_channels=16)
LINEAR = dict(type="LinearClsHead", num_classes=5, in_channels=16)
COMBINATIONS = {
    "class token": dict(head=TOKEN),
    "class token, hidden layer": dict(head={**TOKEN, "hidden_dim": 8}),
    "class token, linear": dict(head=LINEAR),
    "averaged": dict(backbone=dict(out_type="avg_featmap"), head=LINEAR),
    "averaged, normed": dict(
        backbone=dict(out_type="avg_featmap", pool_norm=True, final_norm=False), head=LINEAR
    ),
    "pooled map": dict(
        backbone=dict(out_type="featmap"), neck=dict(type="GlobalAveragePooling"), head=LINEAR
    ),
    "several outputs": dict(
        backbone=dict(out_type="featmap", out_indices=(0, 1)),
        neck=dict(type="GlobalAveragePooling"),
        head=LINEAR,
    ),
}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_classifier_trains_and_predicts(name: str) -> None:
    parts = COMBINATIONS[name]
    model = MODELS.build(
        dict(
            type="ImageClassifier",
            data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, num_classes=5),
            neck=parts.get("neck"),
            head=parts["head"],
            backbone=dict(
                type="vit_backbones.VisionTransformer", arch=ARCH, **parts.get("backbone", {})
            ),
        )
    )
    assert isinstance(model.backbone, VisionTransformer)
    model.init_weights()
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(i) for i in range(4)]
    optimizer = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-2))
    before = {name: p.clone() for name, p in model.named_parameters()}
    model.train()
    losses = [
        model.train_step(dict(inputs=images, data_samples=samples), optimizer)["loss"].item()
        for _ in range(5)
    ]
    assert losses[-1] < losses[0]
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters())
    model.eval()
    predictions = model.val_step(dict(inputs=images, data_samples=samples))
    assert torch.stack([p.pred_score for p in predictions]).sum(1).tolist() == pytest.approx(
        [1] * 4
    )
