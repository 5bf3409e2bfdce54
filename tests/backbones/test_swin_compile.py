"""Swin compiled without graph breaks, exported, and in bfloat16: the same results."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.parity import random_images, randomize, relative_error
from vit_backbones import SwinTransformer

ALL = (0, 1)
TINY = dict(embed_dims=16, depths=(2, 2), num_heads=(1, 2), window_size=4)
# Whole windows with one in the last stage; padded ones
CASES = [(1, (75, 101)), (2, (64, 32))]


@pytest.fixture(params=CASES, ids=["v1", "v2"])
def model_and_images(request) -> tuple[SwinTransformer, Tensor]:
    version, size = request.param
    torch.compiler.reset()
    model = randomize(SwinTransformer(TINY, version=version, out_indices=ALL))
    return model.eval(), random_images(2, *size)


def assert_same(outputs, expected, tolerance: float = 1e-5) -> None:
    for out, reference in zip(outputs, expected, strict=True):
        assert relative_error(out.float(), reference) <= tolerance


def test_compiles_into_one_graph(model_and_images):
    """Forward, inference and gradients; aot_eager needs no C++ compiler."""
    model, images = model_and_images
    compiled = torch.compile(model, fullgraph=True, dynamic=False, backend="aot_eager")
    results = []
    for run in (compiled, model):  # what was traced is not kept for later calls
        with torch.no_grad():
            inferred = run(images)
        model.zero_grad()
        outputs = run(images)
        sum(out.square().sum() for out in outputs).backward()
        results.append((inferred, outputs, [p.grad for p in model.parameters()]))
    (inferred, outputs, gradients), expected = results
    assert_same(inferred, expected[0])
    assert_same(outputs, expected[1])
    assert_same(gradients, expected[2], 1e-4)


def test_compiles_to_machine_code():
    """Of a plain and a shifted block; each kernel takes a second."""
    torch.compiler.reset()
    model = randomize(SwinTransformer(dict(TINY, depths=(2,), num_heads=(1,)))).eval()
    images = random_images(2, 37, 51)
    with torch.no_grad():
        assert_same(torch.compile(model, fullgraph=True)(images), model(images))


def test_exports(model_and_images):
    model, images = model_and_images
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    with torch.no_grad():
        expected = model(images)
        static = torch.export.export(model, (images,)).module()
        dynamic = torch.export.export(model, (images,), dynamic_shapes=(batch,)).module()
        assert_same(static(images), expected)
        assert_same(dynamic(images), expected)
        first = [out[:1].expand(5, -1, -1, -1) for out in expected]
        assert_same(dynamic(images[:1].repeat(5, 1, 1, 1)), first)
        assert_same(model(images), expected, 0.0)


def test_autocast(model_and_images):
    model, images = model_and_images
    expected = model(images)
    sum(out.square().sum() for out in expected).backward()
    exact = torch.cat([p.grad.flatten() for p in model.parameters()])
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            assert_same(model(images), expected, 0.05)
        mixed = model(images)
    assert_same(mixed, expected, 0.05)
    sum(out.float().square().sum() for out in mixed).backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert torch.cosine_similarity(gradient, exact, dim=0) > 0.99


def test_bfloat16_weights(model_and_images):
    model, images = model_and_images
    expected = model(images)
    model = model.to(torch.bfloat16)
    with torch.no_grad():
        inferred = model(images.bfloat16())
    for outputs in (inferred, model(images.bfloat16())):
        assert all(out.dtype == torch.bfloat16 for out in outputs)
        assert_same(outputs, expected, 0.1)
