"""Swin's contract: published sizes, outputs, freezing, checkpoints of other windows, what is kept
between calls, messages."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from timm.layers import resize_rel_pos_bias_table_simple
from torch import nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from tests.parity import random_images, randomize, relative_error
from vit_backbones import SwinTransformer, UserError, build_backbone, list_backbones
from vit_backbones.backbones.presets import get_preset
from vit_backbones.complexity import count
from vit_backbones.layers import chunks
from vit_backbones.layers.shifted_window import plan_windows

TINY = dict(embed_dims=16, depths=(1, 2, 2), num_heads=(1, 2, 4), window_size=4)
ALL = (0, 1, 2)

# Published: parameters with the classifier in millions, and multiply-adds in billions at the size
# and window of training (v2: the authors' model hub)
PUBLISHED = {
    ("swin_t", 224, 7): (28.3, 4.5),
    ("swin_s", 224, 7): (49.6, 8.7),
    ("swin_b", 224, 7): (87.8, 15.4),
    ("swin_b", 384, 12): (87.9, 47.0),
    ("swin_l", 224, 7): (196.5, 34.5),
    ("swinv2_t", 256, 8): (28.3, 5.9),
    ("swinv2_t", 256, 16): (28.3, 6.6),
    ("swinv2_s", 256, 8): (49.7, 11.5),
    ("swinv2_s", 256, 16): (49.7, 12.6),
    ("swinv2_b", 256, 8): (87.9, 20.3),
    ("swinv2_b", 256, 16): (87.9, 21.8),
    ("swinv2_l", 256, 16): (196.7, 47.5),
}


@pytest.mark.parametrize("name, size, window", PUBLISHED)
def test_published_size(name, size, window):
    with torch.device("meta"):
        model = build_backbone(name, window_size=window)
    complexity = count(model, (size, size))
    classifier = 1000 * (model.out_channels[-1] + 1)
    params, flops = PUBLISHED[name, size, window]
    assert (complexity.params + classifier) / 1e6 == pytest.approx(params, abs=0.06)
    assert complexity.flops / 1e9 == pytest.approx(flops, rel=0.015)


@pytest.mark.parametrize("name", list_backbones("swin*"))
def test_preset(name):
    with torch.device("meta"):
        model = build_backbone(name)
    params = sum(p.numel() for p in model.parameters())
    assert params / 1e6 == pytest.approx(get_preset(name).params, abs=0.006)
    assert {dim // heads for dim, heads in zip(model.arch.dims, model.arch.heads)} == {32}


@pytest.mark.parametrize("size", [(64, 64), (75, 101), (200, 304), (5, 3)])
@pytest.mark.parametrize("version", [1, 2])
def test_one_map_per_stage(version, size):
    model = SwinTransformer(TINY, version=version, out_indices=ALL)
    assert model.out_channels == (16, 32, 64)
    assert model.out_strides == (4, 8, 16)
    for out, channels, stride in zip(
        model(torch.randn(1, 3, *size)), model.out_channels, model.out_strides, strict=True
    ):
        assert out.shape == (1, channels, -(-size[0] // stride), -(-size[1] // stride))


def test_outputs_are_stages():
    model = randomize(SwinTransformer(TINY, out_indices=ALL)).eval()
    some = SwinTransformer(TINY, out_indices=(0, -1)).eval()
    some.load_state_dict(model.state_dict(), strict=False)
    images = random_images(1, 64, 64)
    first, _, last = model(images)
    for out, expected in zip(some(images), (first, last), strict=True):
        torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("version", [1, 2])
def test_checkpointing_and_drop_path(version):
    """Activation checkpointing changes nothing, stochastic depth included."""
    model = randomize(SwinTransformer(TINY, version=version, drop_path_rate=0.4))
    gradients = []
    for with_cp in (False, True):
        model.with_cp = with_cp
        model.zero_grad()
        torch.manual_seed(1)
        model(random_images(2, 75, 101))[0].square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)
    rates = [block.drop_path.rate for stage in model.layers for block in stage.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_dropout():
    rates = dict(drop_rate=0.5, attn_drop_rate=0.5)
    images = random_images(2, 64, 64)
    for name in rates:
        model = randomize(SwinTransformer(TINY, **{name: rates[name]}))
        assert not torch.equal(model(images)[0], model(images)[0])
        with torch.no_grad():
            assert not torch.equal(model(images)[0], model(images)[0])
        model.eval()
        assert torch.equal(model(images)[0], model(images)[0])


def test_frozen_stages():
    model = SwinTransformer(TINY, out_indices=ALL, frozen_stages=1, use_abs_pos_embed=True).train()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert {"patch_embed.norm.bias", "absolute_pos_embed", "norm0.weight"} <= frozen
    assert {n.split(".")[1] for n in frozen if n.startswith("layers")} == {"0"}
    assert not {"norm1.weight", "norm2.weight"} & frozen
    assert not model.layers[0].downsample.training and model.layers[1].training
    assert all(not p.requires_grad for p in SwinTransformer(TINY, frozen_stages=3).parameters())
    images = random_images(2, 64, 64)
    sum(out.sum() for out in model(images)).backward()
    assert model.layers[1].blocks[0].attn.qkv.weight.grad is not None


def test_layer_depth():
    model = SwinTransformer(TINY, out_indices=ALL, use_abs_pos_embed=True)
    for name, depth in {
        "absolute_pos_embed": 0,
        "patch_embed.norm.weight": 0,
        "layers.0.blocks.0.norm1.weight": 1,
        "layers.0.downsample.norm.weight": 1,
        "layers.1.blocks.0.attn.relative_position_bias_table": 2,
        "layers.1.downsample.reduction.weight": 3,
        "layers.2.blocks.1.mlp.fc1.weight": 5,
        "norm0.weight": 6,
    }.items():
        assert name in model.state_dict()
        assert model.get_layer_depth("backbone." + name, "backbone.") == (depth, 7)
    assert model.get_layer_depth("head.fc.weight", "backbone.") == (6, 7)


def test_initial_values():
    v1 = SwinTransformer("swin_t", depths=(1, 1), num_heads=(3, 6), use_abs_pos_embed=True)
    for name in ("attn.relative_position_bias_table", "attn.qkv.weight", "mlp.fc2.weight"):
        std = v1.get_parameter("layers.1.blocks.0." + name).std().item()
        assert std == pytest.approx(0.02, rel=0.1)
    assert v1.absolute_pos_embed.std().item() == pytest.approx(0.02, rel=0.1)
    assert not v1.layers[0].blocks[0].attn.qkv.bias.any()
    v2 = SwinTransformer("swinv2_t", depths=(1, 1), num_heads=(3, 6))
    block = v2.layers[0].blocks[0]
    assert not block.norm1.weight.any() and not block.norm2.weight.any()
    assert block.attn.logit_scale.exp().flatten().tolist() == pytest.approx([10] * 3)


def test_logit_scale_is_clamped():
    model = randomize(SwinTransformer(TINY, version=2)).eval()
    images = random_images(2, 64, 64)
    outputs = []
    for scale in (50.0, 100.0, 200.0):
        for stage in model.layers:
            for block in stage.blocks:
                nn.init.constant_(block.attn.logit_scale, torch.tensor(scale).log().item())
        outputs.append(model(images)[0])
    assert torch.equal(outputs[1], outputs[2])
    assert not torch.allclose(outputs[0], outputs[1])


# Checkpoints


def test_loads_the_tables_of_another_window():
    file = randomize(SwinTransformer(TINY)).state_dict()
    model = SwinTransformer(TINY, window_size=(3, 4, 6))
    model.load_state_dict(file)
    for stage, window in enumerate((3, 4, 6)):
        name = f"layers.{stage}.blocks.0.attn.relative_position_bias_table"
        heads = TINY["num_heads"][stage]
        shape = ((2 * window - 1) ** 2, heads)
        expected = resize_rel_pos_bias_table_simple(file[name], (window, window), shape)
        torch.testing.assert_close(model.get_parameter(name).data, expected)


def test_loads_the_authors_files():
    """Constants are left out, the classifier's norm is found, and absolute positions in either
    form."""
    trained = randomize(SwinTransformer(TINY, use_abs_pos_embed=True, img_size=64)).eval()
    file = dict(trained.state_dict())
    for stage in range(3):
        prefix = f"layers.{stage}.blocks.0."
        file[prefix + "attn_mask"] = torch.zeros(4, 16, 16)
        file[prefix + "attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.long)
        file[prefix + "attn.relative_coords_table"] = torch.zeros(1, 7, 7, 2)
    position = file["absolute_pos_embed"]
    model = SwinTransformer(TINY, use_abs_pos_embed=True, img_size=64).eval()
    images = random_images(2, 64, 64)
    for form in (position, position.transpose(1, 2).reshape(1, 16, 16, 16)):
        nn.init.zeros_(model.absolute_pos_embed)
        model.load_state_dict({**file, "absolute_pos_embed": form})
        torch.testing.assert_close(model(images)[0], trained(images)[0])
    larger = SwinTransformer(TINY, use_abs_pos_embed=True, img_size=96).eval()
    larger.load_state_dict(file)
    images = random_images(2, 96, 96)
    torch.testing.assert_close(larger(images)[0], trained(images)[0], rtol=1e-4, atol=1e-4)


def test_norms_are_named_as_by_the_authors():
    def names(model):
        return {n for n in model.state_dict() if n.startswith("norm")}

    classifier, detector = SwinTransformer(TINY), SwinTransformer(TINY, out_indices=ALL)
    assert names(classifier) == {"norm.weight", "norm.bias"}
    assert names(detector) == {f"norm{i}.{p}" for i in ALL for p in ("weight", "bias")}
    missing, unexpected = detector.load_state_dict(classifier.state_dict(), strict=False)
    assert set(missing) == names(detector) and set(unexpected) == names(classifier)
    randomize(detector)
    file = {n: p for n, p in detector.state_dict().items() if not n.startswith(("norm0", "norm1"))}
    classifier.load_state_dict(file)
    assert torch.equal(classifier.norm.weight, detector.norm2.weight)


# What is kept between calls


def test_state_dict_holds_parameters_alone():
    model = SwinTransformer(TINY, use_abs_pos_embed=True)
    model(random_images(1, 64, 64))
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}
    assert not list(model.buffers())


@pytest.mark.parametrize("version", [1, 2])
def test_training_after_inference_mode(version):
    """What the first call keeps serves later ones, in whatever mode the first was."""
    model = randomize(SwinTransformer(TINY, version=version))
    images = random_images(2, 60 + 4 * version, 116)  # a shape that no other test has
    with torch.inference_mode():
        expected = copy.deepcopy(model).eval()(images)[0].clone()
    out = model.eval()(images)[0]
    out.square().sum().backward()
    torch.testing.assert_close(out.detach(), expected)
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("floats", [2**21, 3000, 1])
@pytest.mark.parametrize("version", [1, 2])
def test_inference_by_parts(version, floats, monkeypatch):
    """It gives what the blocks give in one piece, also where parts cut through images and
    windows are padded."""
    model = randomize(SwinTransformer(TINY, version=version, out_indices=ALL)).eval()
    images = random_images(3, 75, 101)
    expected = model(images)
    monkeypatch.setattr(chunks, "FLOATS", floats)
    monkeypatch.setattr(chunks, "MLP_ROWS", 1)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            for ours, one_piece in zip(model(images), expected, strict=True):
                assert relative_error(ours, one_piece) < 1e-5


def test_inference_leaves_the_input_of_a_block():
    """It may be an earlier output, or kept by a hook."""
    block = randomize(SwinTransformer(TINY)).eval().layers[0].blocks[0]
    x = torch.randn(2, 35, 16)
    before = x.clone()
    with torch.no_grad():
        assert block(x, plan_windows((5, 7), 4, 2, x.device)).shape == x.shape
    assert torch.equal(x, before)


def test_inference_by_parts_is_for_blocks_that_nobody_watches():
    model = randomize(SwinTransformer(TINY)).eval()
    seen = []
    model.layers[0].blocks[0].mlp.act.register_forward_hook(lambda *args: seen.append(args[2]))
    with torch.no_grad():
        model(random_images(2, 64, 64))
    assert len(seen) == 1 and seen[0].shape[:2] == (2, 256)


def test_inference_by_parts_is_for_its_own_modules():
    """A wrapper is called, as in training, and what is in training mode alone stays random."""

    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, *args):
            return 2 * self.inner(*args)

    images = random_images(2, 64, 64)
    for part in ("attn", "mlp"):
        model = randomize(SwinTransformer(TINY)).eval()
        block = model.layers[0].blocks[0]
        setattr(block, part, Wrapper(getattr(block, part)).eval())
        with torch.no_grad():
            quiet = model(images)
        torch.testing.assert_close(quiet, tuple(out.detach() for out in model(images)))

    model = randomize(SwinTransformer(TINY, drop_rate=0.5, drop_path_rate=0.5)).eval()
    for part in (model.layers[0].blocks[0].attn.proj_drop, model.layers[1].blocks[1].drop_path):
        part.train()
        with torch.no_grad():
            assert any(not torch.equal(model(images)[0], model(images)[0]) for _ in range(9))
        part.eval()


def test_kept_plans_do_not_depend_on_the_default_dtype():
    images = random_images(1, 60, 60)
    torch.set_default_dtype(torch.float64)
    try:
        SwinTransformer(TINY)(images.double())
    finally:
        torch.set_default_dtype(torch.float32)
    assert SwinTransformer(TINY)(images)[0].dtype == torch.float32


def test_trained_parameters_are_seen():
    """Nothing that depends on parameters is kept."""
    model = randomize(SwinTransformer(TINY)).eval()
    images = random_images(2, 64, 64)
    with torch.no_grad():
        before = model(images)[0]
        model.layers[0].blocks[0].attn.relative_position_bias_table.mul_(2)
        assert not torch.allclose(model(images)[0], before)


def test_second_derivative():
    model = randomize(SwinTransformer(TINY, depths=(2,), num_heads=(1,))).double().eval()
    images = random_images(1, 20, 24).double().requires_grad_()
    (gradient,) = torch.autograd.grad(model(images)[0].square().sum(), images, create_graph=True)
    gradient.square().sum().backward()
    assert images.grad.abs().sum() > 0


# Mistakes


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(version=3), "version must be 1 (Swin) or 2"),
        (dict(embed_dims=0), "embed_dims must be a positive integer"),
        (dict(embed_dims=100), "100 wide, which does not divide into 3 heads"),
        (dict(num_heads=(3, 6, 12, 20)), "stage 3 is 768 wide"),
        (dict(num_heads=(3, 6)), "one for each of the 4 stages"),
        (dict(num_heads=3), "num_heads must name the heads of each stage"),
        (dict(depths=()), "depths must be the blocks of each stage"),
        (dict(depths=2), "depths must be the blocks of each stage"),
        (dict(depths=(2, 0, 2, 2)), "depths must be an integer of at least 1"),
        (dict(window_size=0), "window_size must be an integer of at least 1"),
        (dict(window_size=(7, 7)), "one for each of the 4 stages"),
        (dict(window_size=7.0), "window_size must be an integer"),
        (dict(pretrained_window_sizes=12), "is for version 2"),
        (dict(patch_size=-4), "patch_size must be a positive integer"),
        (dict(mlp_ratio=0), "mlp_ratio must be positive"),
        (dict(mlp_ratio="4"), "mlp_ratio must be positive"),
        (dict(drop_path_rate=1.0), "drop_path_rate must be"),
        (dict(img_size=(64, 0)), "img_size must be"),
        (dict(out_indices=4), "the encoder has 4 stages"),
        (dict(frozen_stages=5), "frozen_stages must be -1"),
        (dict(windows_size=7), "did you mean 'window_size'"),
        (dict(out_type="map"), "has no setting 'out_type', did you mean 'out_indices'?"),
        (dict(arch=dict(out_type="map")), "has no setting 'out_type'"),
        (dict(arch=dict(with_cp=True)), "give it beside arch"),
        (dict(arch="swin_x"), "did you mean 'swin_"),
        (dict(arch="vit_b16"), "use type='vit_backbones.VisionTransformer'"),
    ],
)
def test_refuses_what_cannot_work(settings, words):
    with torch.device("meta"), pytest.raises(UserError) as caught:
        SwinTransformer(**{"arch": "swin_t", **settings})
    assert words in str(caught.value)


def test_refuses_other_images():
    with pytest.raises(UserError, match="takes images of shape"):
        SwinTransformer(TINY)(torch.randn(1, 1, 64, 64))


def test_selective_checkpointing_keeps_products() -> None:
    """Nothing overwrites a product of matrices, which it may keep."""
    keep = partial(create_selective_checkpoint_contexts, [torch.ops.aten.addmm.default])
    model = SwinTransformer(TINY, version=2).train()
    images = random_images(1, 32, 32)
    checkpoint(model, images, use_reentrant=False, context_fn=keep)[0].sum().backward()
    assert all(p.grad is not None for p in model.parameters())
