"""What the plain ViT promises beside its numbers: outputs, freezing, dropping, copies."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import Tensor
from torch.nn import functional as F

from tests.backbones.vit_peers import mm_pair, ours
from tests.parity import by_our_names, random_images, randomize, relative_error
from vit_backbones import VisionTransformer, build_backbone
from vit_backbones.checkpoint.layouts.vit import MMPRETRAIN

SIZE, GRID, PREFIX = (16, 24), (4, 6), 3
TINY = dict(embed_dims=16, depth=3, num_heads=2, patch_size=4, img_size=16)


def tiny(**settings) -> VisionTransformer:
    return randomize(VisionTransformer(TINY, **settings)).eval()


def outputs_of_types(images: Tensor, **settings) -> dict[str, tuple[Tensor, ...]]:
    kinds = ("raw", "cls_token", "featmap", "avg_featmap")
    return {kind: tiny(out_type=kind, **settings)(images) for kind in kinds}


def test_out_types_are_views_of_the_same_tokens() -> None:
    outs = outputs_of_types(random_images(2, *SIZE), num_registers=2, out_indices=(0, 2))
    for i in range(2):
        raw = outs["raw"][i]
        assert raw.shape == (2, PREFIX + 24, 16)
        assert torch.equal(outs["cls_token"][i], raw[:, 0])
        featmap = outs["featmap"][i]
        assert featmap.shape == (2, 16, *GRID)
        assert torch.equal(featmap[:, :, 1, 3], raw[:, PREFIX + 1 * 6 + 3])
        torch.testing.assert_close(outs["avg_featmap"][i], featmap.mean(dim=(2, 3)))


@pytest.mark.parametrize("out_type", ["raw", "cls_token", "featmap", "avg_featmap"])
def test_out_types_and_indices_equal_mmpretrains(out_type: str) -> None:
    """mmpretrain has a norm after averaging, and the final norm on the last block only."""
    indices = [0, 1, 2]
    pair = mm_pair(
        "vit_b16",
        out_type,
        mm=dict(out_indices=indices.copy()),
        pool_norm=out_type == "avg_featmap",
        out_indices=indices,
    )
    randomize(pair.peer).eval()
    pair.model.load_state_dict(by_our_names(pair.model, pair.peer.state_dict()))
    images = random_images(2, *SIZE)
    ours, theirs = pair.model.eval()(images), pair.run(images)
    assert len(ours) == len(theirs) == 3
    for a, b in zip(ours, theirs):
        assert relative_error(a, b) < 1e-6


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        (-1, (2,)),
        (0, (0,)),
        ((0, 2), (0, 2)),
        ([-1, -3], (0, 2)),
        (range(3), (0, 1, 2)),
        ((2, 0), (0, 2)),
    ],
    ids=str,
)
def test_out_indices_in_any_form(given, resolved: tuple[int, ...]) -> None:
    model = tiny(out_indices=given, out_type="featmap")
    everything = tiny(out_indices=(0, 1, 2), out_type="featmap")(random_images(2, *SIZE))
    outs = model(random_images(2, *SIZE))
    assert model.out_indices == resolved
    assert model.out_channels == (16,) * len(resolved) and model.out_strides == (4,) * len(resolved)
    assert all(torch.equal(a, everything[i]) for a, i in zip(outs, resolved, strict=True))


def test_default_out_type_is_the_class_token_or_the_map() -> None:
    images = random_images(1, *SIZE)
    assert tiny()(images)[0].shape == (1, 16)
    assert tiny(cls_token=False)(images)[0].shape == (1, 16, *GRID)


def test_norm_all_outputs() -> None:
    settings = dict(out_indices=(0, 2), out_type="raw")
    plain, normed = tiny(**settings), tiny(norm_all_outputs=True, **settings)
    images = random_images(2, *SIZE)
    assert torch.equal(normed(images)[0], plain.norm(plain(images)[0]))
    assert torch.equal(normed(images)[1], plain(images)[1])


def test_layer_depths_equal_mmpretrains() -> None:
    pair = mm_pair("vit_b16", "avg_featmap", pool_norm=True)
    for name, tensor in pair.model.state_dict().items():
        (theirs,) = MMPRETRAIN.from_native({name: tensor})
        expected = pair.peer.get_layer_depth(theirs)
        assert pair.model.get_layer_depth(name) == expected, name
        assert pair.model.get_layer_depth(f"backbone.{name}", "backbone.") == expected
    assert pair.model.get_layer_depth("head.weight", "backbone.") == (4, 5)


@pytest.mark.parametrize(
    ("preset", "name"),
    [("clip_b16", "norm_pre.weight"), ("dinov2_s14_reg", "reg_token")],
)
def test_layer_depth_of_what_mmpretrain_has_not(preset: str, name: str) -> None:
    model = ours(preset)
    assert name in model.state_dict() and model.get_layer_depth(name) == (0, 5)


@pytest.mark.parametrize("stages", [-1, 0, 2, 3])
def test_frozen_stages(stages: int) -> None:
    settings = dict(num_registers=2, drop_path_rate=0.1, drop_rate=0.1, pre_norm=True)
    model = tiny(frozen_stages=stages, **settings)
    model.train()
    embedding = ("cls_token", "reg_token", "pos_embed", "patch_embed", "norm_pre")
    for name, parameter in model.named_parameters():
        if name.startswith("blocks."):
            frozen = int(name.split(".")[1]) < stages
        else:
            frozen = stages >= 0 if name.startswith(embedding) else stages == 3
        assert parameter.requires_grad is not frozen, name
    assert model.training
    assert model.pos_drop.training is (stages < 0)
    for i, block in enumerate(model.blocks):
        assert all(module.training is (i >= stages) for module in block.modules())
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    if any(parameter.requires_grad for parameter in model.parameters()):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(random_images(8, *SIZE))[0].square().sum().backward()
        optimizer.step()
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {n for n, p in model.named_parameters() if p.requires_grad}


def test_dropped_samples_are_not_computed() -> None:
    model = tiny(drop_path_rate=0.5).train()
    seen: dict[str, list[int]] = {"attn": [], "mlp": []}
    for name, batches in seen.items():
        getattr(model.blocks[-1], name).register_forward_pre_hook(
            lambda _, inputs, batches=batches: batches.append(len(inputs[0]))
        )
    torch.manual_seed(0)
    for _ in range(20):
        model(random_images(8, *SIZE))
    for batches in seen.values():
        assert 0.3 < sum(batches) / (20 * 8) < 0.7


def test_samples_with_patches_of_their_own_are_dropped_too() -> None:
    """Each has its own RoPE then."""
    model = tiny(drop_path_rate=0.5, patch_drop_rate=0.5, position="rope2d", out_type="raw").train()
    (tokens,) = model(random_images(4, *SIZE))
    assert tokens.shape == (4, 1 + 12, 16)
    tokens.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("frozen_stages", [-1, 1])
def test_activation_checkpointing_changes_no_gradient(frozen_stages: int) -> None:
    gradients = []
    for with_cp in (False, True):
        model = tiny(
            with_cp=with_cp,
            drop_path_rate=0.5,
            drop_rate=0.1,
            position="rope2d",
            frozen_stages=frozen_stages,
        ).train()
        calls = []
        model.blocks[-1].register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        torch.manual_seed(0)
        model(random_images(4, *SIZE))[0].square().sum().backward()
        assert len(calls) == 1 + with_cp  # recomputed in the backward pass
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    assert gradients[0]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("position", ["learned", "rope2d"])
def test_patch_drop_takes_positions_along(position: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropped patches are gone, as if no token could see them; the others keep their place."""
    model = tiny(patch_drop_rate=0.5, num_registers=2, position=position, out_type="raw").train()
    kept: list[Tensor] = []
    model.patch_drop.register_forward_hook(lambda *args: kept.append(args[2][1]))
    images = random_images(3, *SIZE)
    out = model(images)[0]
    assert out.shape == (3, PREFIX + 12, 16)
    places = torch.cat([torch.arange(PREFIX).expand(3, -1), PREFIX + kept[0]], dim=1)
    visible = torch.zeros(3, PREFIX + 24, dtype=torch.bool).scatter_(1, places, True)

    attend = F.scaled_dot_product_attention

    def masked(q: Tensor, k: Tensor, v: Tensor, mask: None = None, **kwargs) -> Tensor:
        return attend(q, k, v, visible[:, None, None], **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", masked)
    whole = model.eval()(images)[0]
    assert whole.shape == (3, PREFIX + 24, 16)
    expected = whole.gather(1, places[..., None].expand(-1, -1, 16))
    assert relative_error(out, expected) < 1e-6


def test_stochastic_depth_grows_linearly_over_the_blocks() -> None:
    model = tiny(drop_path_rate=0.4)
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0, 0.2, 0.4])


@pytest.mark.parametrize(
    "way",
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: _saved(m)],
    ids=["deepcopy", "pickle", "torch.save"],
)
@pytest.mark.parametrize("preset", ["vit_b16", "dinov3_s16", "vitdet_b"])
def test_copies_are_equal_and_independent(preset: str, way) -> None:
    settings = dict(attention="global") if preset == "vitdet_b" else {}
    model = randomize(ours(preset, frozen_stages=1, **settings)).eval()
    images = random_images(2, *SIZE)
    twin = way(model)
    expected = model(images)[0]
    assert torch.equal(twin(images)[0], expected)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    assert torch.equal(model(images)[0], expected)
    twin.load_state_dict(model.state_dict())  # the copy's loading hooks are its own
    assert torch.equal(twin(images)[0], expected)


def _saved(model: VisionTransformer) -> VisionTransformer:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_copies_resize_to_their_own_grid() -> None:
    """A copied loading hook still belongs to the copy."""
    small = tiny()
    twin = copy.deepcopy(tiny(img_size=32))
    twin.load_state_dict(small.state_dict())
    assert twin.pos_embed.shape[1] == 1 + 64


def test_moving_average() -> None:
    model = tiny(drop_path_rate=0.1).train()
    average = ExponentialMovingAverage(model, momentum=0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    average.update_parameters(model)  # the first update copies
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    average.update_parameters(model)
    torch.testing.assert_close(average.module.norm.weight, model.norm.weight - 0.5)


def test_training_after_inference_mode() -> None:
    """Nothing that inference left behind gets in the way of gradients."""
    for preset in ("vit_b16", "dinov3_s16", "vitdet_b"):
        settings = dict(attention="global") if preset == "vitdet_b" else {}
        model = randomize(ours(preset, **settings))
        images = random_images(2, *SIZE)
        with torch.inference_mode():
            model.eval()(images)
        model.train()(images)[0].sum().backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_build_backbone_takes_settings() -> None:
    model = build_backbone("vit_ti16", depth=1, out_type="featmap", in_channels=1)
    assert model(torch.randn(1, 1, 32, 48))[0].shape == (1, 192, 2, 3)


def test_frozen_positions_are_not_rescaled():
    """DINOv3 multiplies the coordinates by a random factor in training, for each block anew."""
    images = random_images(2, 64, 64)
    for frozen, same in ((-1, False), (0, True), (3, True)):
        model = VisionTransformer("dinov3_s16", **TINY, frozen_stages=frozen).train()
        assert torch.equal(model(images)[0], model(images)[0]) is same
    model, angles = VisionTransformer("dinov3_s16", **TINY).train(), []
    model.rope.register_forward_hook(lambda *args: angles.append(args[2][0]))
    model(images)
    assert len({float(sin.sum()) for sin in angles}) == 3


@pytest.mark.parametrize("preset", ["vit_b16", "deit3_b16", "dinov2_b14_reg", "dinov3_s16"])
def test_stochastic_depth_is_the_authors(preset):
    model = VisionTransformer(preset, embed_dims=64, depth=3, num_heads=1, drop_path_rate=0.2)
    rates = [block.drop_path.rate for block in model.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2] if preset == "vit_b16" else [0.2] * 3)
