"""MViT's contract: published sizes, outputs, windows, freezing, checkpoints of other sizes,
compilation, messages."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.parity import random_images
from vit_backbones import MViT, UserError, build_backbone, list_backbones
from vit_backbones.backbones.presets import get_preset
from vit_backbones.complexity import count
from vit_backbones.layers import decomposed_attention

TINY = dict(embed_dims=16, depths=(1, 2, 2, 1), img_size=64)
TINY_V1 = dict(embed_dims=16, depths=(1, 2, 2, 1), img_size=64, arch="mvit_b16")

# Published: parameters with the classifier in millions, multiply-adds in billions at 224 x 224. Of
# MViTv2-L the paper says 42.1; timm and mmpretrain count 43.7 and 43.9 in the published
# checkpoint's form.
PUBLISHED = {
    "mvit_b16": (37.0, 7.8),
    "mvitv2_t": (24.2, 4.7),
    "mvitv2_s": (34.9, 7.0),
    "mvitv2_b": (51.5, 10.2),
    "mvitv2_l": (218.0, 43.7),
}


def randomize(model: nn.Module) -> MViT:
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "pos" in name or parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.5)
    return model


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_size(name):
    with torch.device("meta"):
        model = build_backbone(name)
    complexity = count(model, (224, 224))
    classifier = 1000 * (model.out_channels[-1] + 1)
    params, flops = PUBLISHED[name]
    assert (complexity.params + classifier) / 1e6 == pytest.approx(params, abs=0.05)
    assert complexity.flops / 1e9 == pytest.approx(flops, rel=0.012)
    assert complexity.params / 1e6 == pytest.approx(get_preset(name).params, abs=0.005)


def test_presets_are_listed():
    assert list_backbones("mvit*") == sorted(PUBLISHED)


@pytest.mark.parametrize("size", [(64, 64), (160, 224), (75, 101), (33, 4)])
@pytest.mark.parametrize("window_size", [None, 8])
def test_one_map_per_stage(size, window_size):
    model = MViT(TINY, out_indices=(0, 1, 2, 3), window_size=window_size)
    maps = model(torch.randn(1, 3, *size))
    assert model.out_channels == (16, 32, 64, 128)
    assert model.out_strides == (4, 8, 16, 32)
    for out, channels, stride in zip(maps, model.out_channels, model.out_strides, strict=True):
        assert out.shape == (1, channels, -(-size[0] // stride), -(-size[1] // stride))


def test_width_grows_in_the_mlp_before():
    model = MViT(TINY, dim_mul_in_attention=False, out_indices=(0, 1, 2, 3))
    assert model.out_channels == (32, 64, 128, 128)
    assert [out.shape[1] for out in model(torch.randn(1, 3, 64, 64))] == [32, 64, 128, 128]


def test_out_types(images):
    for cls_token in (False, True):
        outputs = {}
        for out_type in ("raw", "featmap", "avg_featmap"):
            torch.manual_seed(0)
            model = MViT(TINY, cls_token=cls_token, out_type=out_type).eval()
            outputs[out_type] = model(images)[0]
        raw, featmap = outputs["raw"], outputs["featmap"]
        assert raw.shape == (2, 4 + cls_token, 128)
        torch.testing.assert_close(featmap.flatten(2).transpose(1, 2), raw[:, int(cls_token) :])
        torch.testing.assert_close(outputs["avg_featmap"], featmap.mean(dim=(2, 3)))
    torch.manual_seed(0)
    cls = MViT(TINY, cls_token=True).eval()
    assert cls.out_type == "cls_token"
    torch.testing.assert_close(cls(images)[0], raw[:, 0])


def test_windows_are_detectron2s():
    """Stage windows of 56, 28, 14 and 7; the last block of each later stage is global, with sparser
    keys."""
    plans = MViT("mvitv2_t", window_size=56).arch.plan()
    windows = [p.window and p.window // p.stride_q for p in plans]
    assert windows == [56, 28, None, 14, 14, 14, 14, None, 7, None]
    assert [p.pool_kv.stride for p in plans] == [4, 2, 4, 1, 1, 1, 1, 2, 1, 1]


def test_one_window_of_the_whole_map_is_global_attention(images):
    model = randomize(MViT(TINY, depths=(2,))).eval()
    windowed = MViT(TINY, depths=(2,), window_size=16).eval()
    windowed.load_state_dict(model.state_dict())
    torch.testing.assert_close(windowed(images)[0], model(images)[0])
    cut = images[..., :60]  # padded keys take part
    assert not torch.allclose(windowed(cut)[0], model(cut)[0])


@pytest.mark.parametrize("settings", [TINY, TINY_V1, {**TINY, "window_size": 8}])
def test_checkpointing_and_drop_path(settings, images):
    """Activation checkpointing changes nothing, stochastic depth included."""
    model = randomize(MViT(**{"arch": {}, **settings}, drop_path_rate=0.5))
    gradients = []
    for with_cp in (False, True):
        model.with_cp = with_cp
        model.zero_grad()
        torch.manual_seed(1)
        model(images)[0].square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)
    model.eval()
    torch.testing.assert_close(model(images)[0], model(images)[0])
    rates = [block.drop_path.rate for block in model.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_dropped_samples_are_not_computed():
    model = MViT(TINY, drop_path_rate=0.5).train()
    seen: dict[str, list[int]] = {"attn": [], "mlp": []}
    for name, batches in seen.items():
        getattr(model.blocks[4], name).register_forward_pre_hook(
            lambda _, inputs, batches=batches: batches.append(len(inputs[0]))
        )
    torch.manual_seed(0)
    for _ in range(10):
        model(random_images(16, 32, 32))
    for batches in seen.values():
        assert 0.4 < sum(batches) / (10 * 16) < 0.8  # rate 0.4


def test_frozen_stages(images):
    model = MViT(TINY, out_indices=(0, 1, 2, 3), frozen_stages=2).train()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    trained = {
        name.split(".")[0] + name.split(".")[1]
        for name in set(dict(model.named_parameters())) - frozen
    }
    assert {"patch_embed.proj.weight", "norm1.weight", "blocks.2.attn.rel_pos_h"} <= frozen
    assert trained == {
        "blocks3",
        "blocks4",
        "blocks5",
        "norm2weight",
        "norm2bias",
        "normweight",
        "normbias",
    }
    assert not model.blocks[2].training and model.blocks[3].training
    assert all(not p.requires_grad for p in MViT(TINY_V1["arch"], frozen_stages=4).parameters())


def test_layer_depth():
    model = MViT("mvit_b16", embed_dims=16, depths=(1, 1), out_indices=(0, 1))
    for name, depth in {
        "cls_token": 0,
        "pos_embed_spatial": 0,
        "patch_embed.proj.weight": 0,
        "blocks.0.norm1.weight": 1,
        "blocks.1.attn.qkv.weight": 2,
        "norm.weight": 3,
        "norm0.weight": 3,
    }.items():
        assert name in model.state_dict()
        assert model.get_layer_depth("backbone." + name, "backbone.") == (depth, 4)
    assert model.get_layer_depth("head.fc.weight", "backbone.") == (3, 4)


def test_initial_values():
    model = MViT("mvitv2_t", cls_token=True)
    for name in ("cls_token", "blocks.0.attn.rel_pos_h", "blocks.3.mlp.fc1.weight"):
        assert model.get_parameter(name).std().item() == pytest.approx(0.02, rel=0.2)
    assert not model.blocks[0].attn.qkv.bias.any()


def test_loads_tables_of_another_size(images):
    small = randomize(MViT(TINY))
    large = MViT(TINY, img_size=96)
    large.load_state_dict(small.state_dict())
    assert large.blocks[0].attn.rel_pos_h.shape[0] == 47
    image = torch.randn(1, 3, 96, 96)
    torch.testing.assert_close(large.eval()(image)[0], small.eval()(image)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("source, target", [("joint", "separate"), ("separate", "joint")])
def test_loads_either_form_of_position(source, target, images):
    """The published MViT-B-16 has one table for all positions."""
    file = randomize(MViT(**TINY_V1, pos_embed=source)).eval()
    model = MViT(**TINY_V1, pos_embed=target).eval()
    model.load_state_dict(file.state_dict())
    torch.testing.assert_close(model(images)[0], file(images)[0])
    larger = MViT(**{**TINY_V1, "img_size": 96}, pos_embed=target).eval()
    larger.load_state_dict(file.state_dict())
    image = torch.randn(1, 3, 96, 96)
    torch.testing.assert_close(larger(image)[0], file(image)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ["joint", "separate"])
def test_what_fits_is_loaded_bit_for_bit(form):
    """As it must be for a resume: only the sum of separate positions counts in the output."""
    file = randomize(MViT(**TINY_V1, pos_embed=form))
    whole = nn.ModuleDict(dict(backbone=MViT(**TINY_V1, pos_embed=form)))
    whole.load_state_dict({f"backbone.{key}": v for key, v in file.state_dict().items()})
    for key, value in file.state_dict().items():
        assert torch.equal(whole.backbone.state_dict()[key], value), key


SMALLEST = dict(embed_dims=16, depths=(1, 2), img_size=32)
SMALLEST_V2 = dict(SMALLEST, arch={}, window_size=4, out_indices=(0, 1))
SMALLEST_V1 = dict(SMALLEST, arch="mvit_b16", kv_stride=2)


@pytest.mark.parametrize("settings", [SMALLEST_V2, SMALLEST_V1])
def test_exported_and_autocast(settings):
    model = randomize(MViT(**settings)).eval()
    images = torch.randn(2, 3, 32, 44)
    with torch.no_grad():
        expected = model(images)
        static = torch.export.export(model, (images,)).module()
        batch = {0: torch.export.Dim("batch", min=1, max=64)}
        dynamic = torch.export.export(model, (images,), dynamic_shapes=(batch,)).module()
        torch.testing.assert_close(static(images), expected)
        torch.testing.assert_close(dynamic(images), expected)
        assert dynamic(images[:1].repeat(5, 1, 1, 1))[0].shape[0] == 5
        with torch.autocast("cpu", torch.bfloat16):
            autocast = model(images)
    for rounded, out in zip(autocast, expected, strict=True):
        assert (rounded - out).abs().max() < 0.05 * out.abs().max()


def test_compiled():
    """To machine code, which takes a second for each of its kernels: of as few blocks as can be."""
    model = randomize(MViT(**{**SMALLEST_V2, "depths": (1, 1)})).eval()
    images = torch.randn(2, 3, 32, 44)
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True)(images)
        torch.testing.assert_close(compiled, model(images), rtol=1e-4, atol=1e-5)


def test_training_compiles_to_one_graph():
    model = randomize(MViT(**SMALLEST_V1, drop_path_rate=0.1))
    images = torch.randn(2, 3, 32, 44)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(images)[0].sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_memory_is_linear_in_pixels(monkeypatch):
    """No tensor of a forward pass at detection size holds queries times keys."""
    from torch.utils._python_dispatch import TorchDispatchMode

    # chunks of scores do not grow with the image; here they shall be smaller than what does
    monkeypatch.setattr(decomposed_attention, "_SCORES", 2**18)

    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for t in out if isinstance(out, tuple | list) else [out]:
                if isinstance(t, torch.Tensor):
                    Largest.elements = max(Largest.elements, t.numel())
            return out

    model = MViT(TINY, window_size=8, out_indices=(0, 1, 2, 3)).eval()
    image = torch.randn(1, 3, 400, 608)
    with torch.no_grad(), Largest():
        model(image)
    tokens = 100 * 152
    assert Largest.elements == tokens * 4 * 16  # the first MLP, between its layers


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(num_heads=5), "does not divide into num_heads=5"),
        (dict(depths=()), "depths must be positive integers"),
        (dict(depths=(1, 0)), "depths must be positive integers"),
        (dict(depths=3), "depths must be positive integers"),
        (dict(depths=(True, 1)), "depths must be positive integers"),
        (dict(mlp_ratio=-1), "mlp_ratio must be positive"),
        (dict(mlp_ratio="4"), "mlp_ratio must be positive"),
        (dict(norm_eps="a"), "norm_eps must be a positive number"),
        (dict(norm_eps=float("nan")), "norm_eps must be a positive number"),
        (dict(mlp_ratio=float("inf")), "mlp_ratio must be positive"),
        (dict(kv_stride=3), "power of two"),
        (dict(kv_stride=0), "kv_stride must be a positive integer"),
        (dict(pool_kernel=2), "pool_kernel must be an odd"),
        (dict(pool_mode="mean"), "pool_mode must be one of conv, max, avg"),
        (dict(patch_kernel=4), "patch_kernel must be odd"),
        (dict(patch_kernel=3), "at least patch_stride=4"),
        (dict(window_size=7), "window of 7, which does not divide by the stride 4"),
        (dict(window_size=12), "window of 3, which does not divide by the stride 2"),
        (dict(window_size=0), "window_size must be a positive integer"),
        (dict(window_size=8, cls_token=True), "no place for a class token"),
        (dict(pos_embed="learned"), "pos_embed must be one of none, joint, separate"),
        (dict(out_type="cls_token"), "cls_token=True"),
        (dict(out_type="map"), "out_type must be one of"),
        (dict(out_indices=4), "the encoder has 4 stages"),
        (dict(frozen_stages=5), "frozen_stages must be -1"),
        (dict(drop_path_rate=1.0), "drop_path_rate must be"),
        (dict(window=7), "did you mean 'window_size'"),
        (dict(img_size=(64, 0)), "img_size must be"),
    ],
)
def test_refuses_what_cannot_work(settings, words):
    with pytest.raises(UserError) as caught:
        MViT("mvitv2_t", **settings)
    assert words in str(caught.value)


def test_refuses_other_images():
    with pytest.raises(UserError, match="takes images of shape"):
        MViT(TINY)(torch.randn(1, 1, 64, 64))
