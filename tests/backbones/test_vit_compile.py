"""torch.compile, torch.export and autocast on a tiny model of every family."""

from __future__ import annotations

import pytest
import torch

from tests.parity import random_images, randomize, relative_error
from vit_backbones import VisionTransformer, build_backbone

TINY = dict(embed_dims=16, depth=1, num_heads=2, patch_size=4, img_size=16, drop_path_rate=0.0)
SIZE = (21, 30)  # padded, and positions interpolated
FAMILIES = {
    "vit_b16": {},
    "deit3_s16": {},
    "mae_b16": {},
    "dino_s16": {},
    "dinov2_s14": {},
    "dinov2_g14": {},
    "dinov2_s14_reg": {},
    "dinov3_s16": {},
    "dinov3_splus16": {},
    "clip_b16": {},
    "vitdet_b": dict(
        depth=2, pretrain_img_size=16, attention=(dict(type="window", window_size=3), "global")
    ),
}


def tiny(name: str, **settings) -> VisionTransformer:
    return randomize(build_backbone(name, **{**TINY, **FAMILIES[name], **settings})).eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_compiles_into_one_graph(name: str) -> None:
    """Outputs and gradients, in training mode; aot_eager needs no C++ compiler."""
    torch.compiler.reset()
    model = tiny(name, rope_rescale=None).train()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    images = random_images(2, *SIZE)
    results = []
    for run in (model, compiled):
        model.zero_grad()
        (out,) = run(images)
        out.square().sum().backward()
        results.append([out, *(p.grad for p in model.parameters() if p.requires_grad)])
    (eager, *eager_grads), (other, *other_grads) = results
    assert relative_error(other, eager) < 1e-5
    assert eager_grads
    for ours, compiled_grad in zip(eager_grads, other_grads, strict=True):
        assert relative_error(compiled_grad, ours) < 1e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_exports(name: str) -> None:
    model = tiny(name)
    images = random_images(2, *SIZE)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (images,), dynamic_shapes=({0: batch},))
    more = random_images(5, *SIZE)
    assert relative_error(program.module()(more)[0], model(more)[0]) < 1e-5


@pytest.mark.parametrize("name", ["vit_b16", "dinov2_s14_reg", "dinov3_s16", "clip_b16"])
def test_exports_with_any_height_and_width(name: str) -> None:
    model = tiny(name)
    dynamic = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    program = torch.export.export(model, (random_images(2, 24, 28),), dynamic_shapes=(dynamic,))
    for size in [(24, 28), (20, 40), (32, 24)]:
        images = random_images(3, *size)
        assert relative_error(program.module()(images)[0], model(images)[0]) < 1e-5


@pytest.mark.parametrize("name", FAMILIES)
def test_autocast(name: str) -> None:
    model = tiny(name)
    images = random_images(2, *SIZE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(images)
        sum(out.float().square().sum() for out in mixed).backward()
    for out, exact in zip(mixed, model(images), strict=True):
        assert relative_error(out.float(), exact) < 0.05
    for parameter in model.parameters():
        if parameter.requires_grad:
            assert parameter.grad.dtype == torch.float32 and parameter.grad.isfinite().all()


@pytest.mark.parametrize("name", FAMILIES)
def test_bfloat16_weights(name: str) -> None:
    model = tiny(name)
    exact = model(random_images(2, *SIZE))
    half = model.to(torch.bfloat16)(random_images(2, *SIZE).bfloat16())
    for out, reference in zip(half, exact, strict=True):
        assert out.dtype == torch.bfloat16
        assert relative_error(out.float(), reference) < 0.1
