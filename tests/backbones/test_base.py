"""The contract that all types of encoders keep."""

from __future__ import annotations

import math

import pytest
import torch

from tests.parity import random_images, randomize
from vit_backbones import UserError
from vit_backbones.arguments import to_pair
from vit_backbones.backbones.base import Backbone, resolve_indices
from vit_backbones.registry import MODELS

import mmdet.registry  # isort: skip  # after vit_backbones, which repairs them
import mmpretrain.registry  # isort: skip
import mmseg.registry  # isort: skip

TINY = {
    "VisionTransformer": dict(
        arch=dict(embed_dims=16, depth=3, num_heads=2, patch_size=4, img_size=32),
        out_indices=(0, 2),
        out_type="featmap",
    ),
    "SwinTransformer": dict(
        arch=dict(embed_dims=8, depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2), window_size=3),
        out_indices=(0, 1, 2, 3),
    ),
    "MViT": dict(
        arch=dict(embed_dims=8, depths=(1, 1, 2, 1), img_size=32),
        out_indices=(0, 1, 2, 3),
        out_type="featmap",
    ),
}
SIZES = [(32, 32), (64, 32), (37, 50), (1, 5)]
each_type = pytest.mark.parametrize("kind", TINY)


def tiny(kind: str, **settings) -> Backbone:
    return randomize(MODELS.get(kind)(**{**TINY[kind], **settings})).eval()


@each_type
@pytest.mark.parametrize(
    "library", [mmpretrain.registry, mmdet.registry, mmseg.registry], ids=lambda r: r.__name__
)
def test_found_from_every_library(kind: str, library) -> None:
    model = library.MODELS.build(dict(type=f"vit_backbones.{kind}", **TINY[kind]))
    assert isinstance(model, Backbone) and type(model) is MODELS.get(kind)


@each_type
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_maps_have_the_announced_channels_and_strides(kind: str, size: tuple[int, int]) -> None:
    model = tiny(kind)
    outputs = model(random_images(2, *size))
    assert isinstance(outputs, tuple)
    described = zip(outputs, model.out_channels, model.out_strides, strict=True)
    for out, channels, stride in described:
        assert out.shape == (2, channels, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        assert out.isfinite().all()


@each_type
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_no_image_at_all(kind: str, size: tuple[int, int]) -> None:
    """A process may be left without one; its parameters still get gradients, of zero."""
    model = tiny(kind, drop_path_rate=0.5)
    for part in (model.eval(), model.train()):
        outputs = part(torch.zeros(0, 3, *size))
        assert [len(out) for out in outputs] == [0] * len(model.out_channels)
        sum(out.sum() for out in outputs).backward()
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


@each_type
def test_stochastic_depth_may_be_replaced(kind: str) -> None:
    model = tiny(kind, drop_path_rate=0.9)
    x = random_images(2, 32, 32)
    expected = model(x)
    for block in [m for m in model.modules() if hasattr(m, "drop_path")]:
        block.drop_path = torch.nn.Identity()
    for out, like in zip(model.train()(x), expected):
        torch.testing.assert_close(out, like)


@each_type
def test_gradients_of_each_sample(kind: str) -> None:
    model = tiny(kind)
    weights, images = dict(model.named_parameters()), random_images(3, 32, 32)

    def loss(weights: dict, image: torch.Tensor) -> torch.Tensor:
        outputs = torch.func.functional_call(model, weights, (image[None],))
        return sum(out.square().mean() for out in outputs)

    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, images)
    for i, image in enumerate(images):
        for name, gradient in torch.func.grad(loss)(weights, image).items():
            torch.testing.assert_close(found[name][i], gradient, rtol=1e-4, atol=1e-5)


@each_type
@pytest.mark.parametrize("assign", [True, False])
def test_built_without_memory_and_filled_later(kind: str, assign: bool) -> None:
    """Every tensor that an encoder needs is a weight of it: all of them come with the file."""
    settings = dict(key_bias=False) if kind == "VisionTransformer" else {}
    model, images = tiny(kind, **settings), random_images(1, 32, 32)
    with torch.device("meta"):
        later = MODELS.get(kind)(**TINY[kind], **settings).eval()
    if not assign:
        later.to_empty(device="cpu")
        for buffer in later.buffers():
            buffer.fill_(torch.nan)
    later.load_state_dict(model.state_dict(), assign=assign)
    for out, reference in zip(later(images), model(images)):
        torch.testing.assert_close(out, reference)


@each_type
def test_flags_are_true_or_false(kind: str) -> None:
    with pytest.raises(UserError, match="qkv_bias must be True or False, not 'false'"):
        tiny(kind, qkv_bias="false")


@each_type
def test_one_output_is_a_tuple_as_well(kind: str) -> None:
    outputs = tiny(kind, out_indices=-1)(random_images(1, 32, 32))
    assert isinstance(outputs, tuple) and len(outputs) == 1


@each_type
def test_layer_depths_cover_embedding_blocks_and_the_rest(kind: str) -> None:
    model = tiny(kind)
    total = model.num_layers + 2
    depths = {}
    for name, _ in model.named_parameters():
        depths[name], count = model.get_layer_depth(name)
        assert count == total
        assert model.get_layer_depth(f"backbone.{name}", "backbone.") == (depths[name], total)
    assert set(range(1, total - 1)) <= set(depths.values()) <= set(range(total))
    assert all(depth == 0 for name, depth in depths.items() if name.startswith("patch_embed"))
    assert model.get_layer_depth("head.fc.weight", "backbone.") == (total - 1, total)
    in_order = [depth for name, depth in depths.items() if "blocks." in name]
    assert in_order == sorted(in_order)


@each_type
def test_frozen_stages_grow_and_stay_frozen(kind: str) -> None:
    frozen = set()
    stages = 3 if kind == "VisionTransformer" else 4
    for k in range(-1, stages + 1):
        model = tiny(kind, frozen_stages=k, drop_path_rate=0.1)
        assert model.train() is model
        now = {name for name, p in model.named_parameters() if not p.requires_grad}
        assert frozen < now if k >= 0 else not now
        assert any(not module.training for module in model.modules()) is (k >= 0)
        outputs = [out for out in model(random_images(2, 32, 32)) if out.requires_grad]
        if outputs:
            sum(out.square().sum() for out in outputs).backward()
        assert {name for name, p in model.named_parameters() if p.grad is None} == now
        frozen = now
    assert frozen == {name for name, _ in model.named_parameters()}


@each_type
@pytest.mark.parametrize("stages", [-2, 5, 1.0, None])
def test_frozen_stages_out_of_range(kind: str, stages: object) -> None:
    with pytest.raises(UserError, match=r"frozen_stages must be -1 \(nothing frozen\) to [34]"):
        tiny(kind, frozen_stages=stages)


@each_type
def test_activation_checkpointing_changes_nothing(kind: str) -> None:
    results = []
    for with_cp in (False, True):
        model = tiny(kind, with_cp=with_cp, drop_path_rate=0.3).train()
        torch.manual_seed(0)
        sum(out.square().sum() for out in model(random_images(4, 32, 48))).backward()
        results.append([p.grad for p in model.parameters() if p.requires_grad])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@each_type
def test_wrong_channels(kind: str) -> None:
    with pytest.raises(UserError, match=rf"{kind} takes images of shape \(batch, 3, height, width"):
        tiny(kind)(torch.randn(2, 1, 32, 32))
    model = tiny(kind, in_channels=1)
    assert model(torch.randn(2, 1, 32, 32))[0].shape[0] == 2


@each_type
@pytest.mark.parametrize("size", [(32, 32), (37, 50)])
def test_maps_are_contiguous_for_compiled_ops(kind: str, size: tuple[int, int]) -> None:
    """And what a neck's convolution makes of them: it hands the order in memory on."""
    for out in tiny(kind)(random_images(2, *size)):
        assert out.is_contiguous()
        assert torch.nn.Conv2d(out.shape[1], 4, 1)(out).is_contiguous()


@each_type
def test_misspelt_settings(kind: str) -> None:
    with pytest.raises(UserError, match=f"{kind} has no setting 'embed_dim', did you mean 'embed_"):
        tiny(kind, embed_dim=8)


@each_type
def test_initial_values_are_those_of_a_trainable_model(kind: str) -> None:
    torch.manual_seed(0)
    model = MODELS.get(kind)(**TINY[kind])
    model.init_weights()
    outputs = model(random_images(2, 64, 64))
    assert all(out.isfinite().all() and out.std() > 1e-3 for out in outputs)


@pytest.mark.parametrize("value", [(4, 6), [4, 6], 5, [5]])
def test_pairs(value) -> None:
    assert to_pair(value, "size") in [(4, 6), (5, 5)]


def test_indices() -> None:
    assert resolve_indices((-1, 0), 4, "stage") == (0, 3)
    with pytest.raises(UserError, match=r"the encoder has 4 stages, 0 to 3 \(or -4 to -1 from the"):
        resolve_indices(4, 4, "stage")
