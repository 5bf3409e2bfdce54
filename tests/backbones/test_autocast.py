"""A training step in mixed precision, with CUDA's rules of autocast: norms in float32.

On CPUs autocast leaves LayerNorm in half precision, and so hides where the two meet.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.parity import random_images, randomize
from vit_backbones import build_backbone

ENCODERS = {  # images of 40 pixels: windows, patches and strides need padding
    "deit_ti16": dict(embed_dims=32, depth=3, num_heads=2, patch_size=8, img_size=40),
    "vitdet_b": dict(embed_dims=32, depth=3, num_heads=2, patch_size=4, img_size=40),
    "swin_t": dict(embed_dims=16, depths=(2, 1, 1), num_heads=(1, 2, 4), window_size=4),
    "swinv2_t": dict(embed_dims=16, depths=(2, 1, 1), num_heads=(1, 2, 4), window_size=4),
    "mvitv2_t": dict(embed_dims=16, depths=(1, 1, 1), img_size=40),
}
SCALE = 2.0**12  # of the loss, as a GradScaler has it


@pytest.fixture
def cuda_rules(monkeypatch):
    def in_float32(function):
        def run(x: Tensor, *args, **kwargs) -> Tensor:
            with torch.autocast("cpu", enabled=False):
                args = [a.float() if isinstance(a, Tensor) else a for a in args]
                return function(x.float(), *args, **kwargs)

        return run

    for module, name in ((F, "layer_norm"), (torch.linalg, "vector_norm")):
        monkeypatch.setattr(module, name, in_float32(getattr(module, name)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["half", "bfloat16"])
@pytest.mark.parametrize("name", ENCODERS)
def test_gradients_are_those_of_float32(name: str, dtype: torch.dtype, cuda_rules) -> None:
    model = randomize(build_backbone(name, **ENCODERS[name], drop_path_rate=0.5)).train()
    images = random_images(4, 40, 40)

    def gradients(enabled: bool) -> Tensor:
        torch.manual_seed(0)  # the same samples drop the same branches
        model.zero_grad()
        with torch.autocast("cpu", dtype, enabled=enabled):
            outputs = model(images)
        loss = sum(out.float().square().mean() for out in outputs)
        (loss * SCALE).backward()
        return torch.cat([p.grad.flatten() / SCALE for p in model.parameters()])

    rounded, expected = gradients(True), gradients(False)
    assert rounded.isfinite().all()
    assert F.cosine_similarity(rounded, expected, dim=0) > 0.99
