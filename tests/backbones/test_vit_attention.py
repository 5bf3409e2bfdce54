"""The kinds of attention in a ViT: mixed over the blocks, at any size, compiled, exported."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.parity import random_images, randomize, relative_error
from vit_backbones import UserError, VisionTransformer
from vit_backbones.layers.attention import SelfAttention
from vit_backbones.layers.attention_kinds import ATTENTIONS
from vit_backbones.layers.local_attention import LocalAttention
from vit_backbones.layers.window_attention import WindowAttention

TINY = dict(embed_dims=16, depth=2, num_heads=2, patch_size=4, img_size=(24, 32))
SPECS = {kind: kind for kind in ATTENTIONS} | {"window": dict(type="window", window_size=3)}


def tiny(attention: Any, **settings) -> VisionTransformer:
    return randomize(VisionTransformer(TINY, attention=attention, **settings)).eval()


def test_kinds_repeat_over_the_blocks_with_their_options() -> None:
    kinds = (dict(type="window", window_size=3), dict(type="local", kernel_size=5), "global")
    attns = [block.attn for block in tiny(kinds, depth=5).blocks]
    order = [WindowAttention, LocalAttention, SelfAttention, WindowAttention, LocalAttention]
    assert [type(attn) for attn in attns] == order
    assert attns[0].window == attns[3].window == (3, 3)
    assert attns[1].kernel_size == attns[4].kernel_size == 5


@pytest.mark.parametrize("kind", [kind for kind in ATTENTIONS if kind != "axial"])
def test_weights_are_those_of_global_attention(kind: str) -> None:
    """So that a trained ViT goes on with another kind; only Linformer adds its projections."""
    names = set(tiny(SPECS[kind]).state_dict())
    assert {n for n in names if "_projection" not in n} == set(tiny("global").state_dict())


def test_linformer_is_built_for_the_grid_of_the_image() -> None:
    attn = tiny(dict(type="linformer", rank=5)).blocks[0].attn
    assert attn.key_projection.shape == (1, 5, 6, 8)


@pytest.mark.parametrize("position", ["learned", "sincos2d", "rope2d"])
@pytest.mark.parametrize("prefix", [0, 3])
@pytest.mark.parametrize("kind", ATTENTIONS)
def test_any_size_and_every_patch_counts(kind: str, prefix: int, position: str) -> None:
    """Other sizes than the one built for: each output depends on the image, none is NaN."""
    tokens = dict(cls_token=prefix > 0, num_registers=max(prefix - 1, 0))
    model = tiny(SPECS[kind], position=position, out_type="raw", **tokens)
    for size in [(24, 32), (4, 4), (7, 61), (68, 36)]:
        images = random_images(1, *size).requires_grad_()
        (out,) = model(images)
        grid = [-(-side // 4) for side in size]
        assert out.shape == (1, prefix + grid[0] * grid[1], 16)
        (grad,) = torch.autograd.grad(out.square().sum(), images)
        assert out.isfinite().all() and grad.isfinite().all()
        assert (grad != 0).float().mean() > 0.99


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_compiles_into_one_graph_in_training(kind: str) -> None:
    torch.compiler.reset()
    model = tiny(SPECS[kind], position="rope2d", depth=1, out_type="raw").train()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    images = random_images(2, 27, 46)
    results = []
    for run in (model, compiled):
        (out,) = run(images)
        results.append([out, *torch.autograd.grad(out.square().sum(), model.parameters())])
    for ours, theirs in zip(*results, strict=True):
        assert relative_error(theirs, ours) < 1e-4


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_exports_with_any_batch(kind: str) -> None:
    model = tiny(SPECS[kind], position="rope2d", depth=1)
    batch = torch.export.Dim("batch", min=1, max=64)
    images = random_images(2, 27, 46)
    program = torch.export.export(model, (images,), dynamic_shapes=({0: batch},))
    more = random_images(5, 27, 46)
    assert relative_error(program.module()(more)[0], model(more)[0]) < 1e-5


@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("autocast", [True, False], ids=["autocast", "bfloat16 weights"])
def test_bfloat16(kind: str, autocast: bool) -> None:
    model = tiny(SPECS[kind], position="rope2d")
    images = random_images(2, 27, 46)
    (exact,) = model(images)
    if autocast:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (out,) = model(images)
    else:
        (out,) = model.to(torch.bfloat16)(images.bfloat16())
    assert relative_error(out.float(), exact) < 0.1
    out.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_activation_checkpointing_gives_the_same_gradients(kind: str) -> None:
    grads = []
    for with_cp in (False, True):
        model = tiny(SPECS[kind], with_cp=with_cp).train()
        (out,) = model(random_images(2, 24, 32))
        grads.append(torch.autograd.grad(out.square().sum(), model.parameters()))
    for plain, recomputed in zip(*grads, strict=True):
        torch.testing.assert_close(recomputed, plain)


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_builds_on_the_meta_device(kind: str) -> None:
    with torch.device("meta"):
        model = VisionTransformer(TINY, attention=SPECS[kind])
        (out,) = model(torch.empty(1, 3, 27, 46))
    assert out.shape == (1, 16) and out.is_meta


@pytest.mark.parametrize(
    "attention, message",
    [
        ("locale", "attention 'locale' is unknown, did you mean 'local'"),
        (dict(kernel_size=7), "attention None is unknown"),
        (
            dict(type="local", kernal_size=7),
            "attention 'local' has no option 'kernal_size', did you mean 'kernel_size'",
        ),
        (dict(type="axial", window_size=7), "'axial' has no option 'window_size'. .*: none"),
        (("global", dict(type="local", kernel_size=4)), "kernel_size must be an odd"),
        (dict(type="linformer", rank=0), "rank must be a positive integer"),
        ([], "empty"),
    ],
)
def test_mistakes_are_refused_when_the_model_is_built(attention: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        VisionTransformer(TINY, attention=attention)


@pytest.mark.parametrize("kind", [kind for kind in ATTENTIONS if kind not in ("global", "window")])
def test_decomposed_position_is_for_global_and_windows(kind: str) -> None:
    settings = dict(position=("learned", "decomposed"), cls_token=False)
    with pytest.raises(UserError, match=f"'{kind}' has no .*global and window have"):
        VisionTransformer(TINY, attention=("global", kind), **settings)
    tiny(("global", "window"), **settings)(random_images(1, 24, 32))


@pytest.mark.parametrize("kind", [kind for kind in ATTENTIONS if kind != "global"])
def test_dropping_patches_needs_global_attention(kind: str) -> None:
    with pytest.raises(UserError, match="patch_drop_rate"):
        VisionTransformer(TINY, attention=kind, patch_drop_rate=0.5, out_type="cls_token")
