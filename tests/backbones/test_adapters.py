"""Low-rank adapters (mmpretrain's LoRAModel) and hooks in place of the joint projections."""

from __future__ import annotations

import pytest
import torch

from tests.parity import random_images, randomize
from vit_backbones import build_backbone

from mmpretrain.registry import MODELS  # isort: skip  # after vit_backbones, which repairs it

ENCODERS = {
    "vit_ti16": dict(embed_dims=32, depth=2, num_heads=2, img_size=32),
    "swin_t": dict(embed_dims=16, depths=(2, 1), num_heads=(1, 2), window_size=4),
    "swinv2_t": dict(embed_dims=16, depths=(2, 1), num_heads=(1, 2), window_size=4),
    "mvitv2_t": dict(embed_dims=16, depths=(1, 1), img_size=32),
}
each_encoder = pytest.mark.parametrize("name", ENCODERS)


@each_encoder
def test_low_rank_adapters_train_alone(name: str) -> None:
    encoder = build_backbone(name, **ENCODERS[name]).eval()
    cfg = dict(type=f"vit_backbones.{type(encoder).__name__}", arch=name, **ENCODERS[name])
    adapted = MODELS.get("LoRAModel")(
        cfg, alpha=2, rank=2, targets=[dict(type=".*qkv"), dict(type=".*fc1")]
    )
    randomize(encoder)
    for key, value in adapted.module.eval().named_parameters():
        if "lora_" not in key:
            value.data = encoder.get_parameter(key.replace("original_layer.", "")).data
    images = random_images(2, 32, 32)
    expected = encoder(images)
    for out, reference in zip(adapted.forward(images), expected, strict=True):
        torch.testing.assert_close(out, reference)  # they start at zero
    sum(out.square().sum() for out in adapted.forward(images)).backward()
    trained = {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in n for n in trained)
    # the first factor's gradient passes the second, which is zero
    second = [p.grad for n, p in adapted.named_parameters() if "lora_up" in n]
    assert second and all(gradient.abs().sum() > 0 for gradient in second)


@each_encoder
def test_hooks_of_projections_are_called(name: str) -> None:
    encoder = randomize(build_backbone(name, **ENCODERS[name])).eval()
    images = random_images(2, 32, 32)
    expected, shapes = encoder(images), []
    for module_name, module in encoder.named_modules():
        if module_name.endswith("qkv"):
            module.register_forward_hook(lambda m, x, out: shapes.append(out.shape[-1]))
    for out, reference in zip(encoder(images), expected, strict=True):
        torch.testing.assert_close(out, reference)
    assert len(shapes) == sum(n.endswith("qkv") for n, _ in encoder.named_modules())
