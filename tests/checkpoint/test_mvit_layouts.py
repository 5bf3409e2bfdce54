"""MViT and MViTv2: files that the peers' own code writes give the peers' outputs."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from mmengine.runner import save_checkpoint
from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg
from torch import nn

from tests.backbones.test_mvit_parity import TINY, torchvision_v1
from tests.parity import assert_alive, random_images, randomize, relative_error
from vit_backbones import MViT, UserError, load_checkpoint
from vit_backbones.checkpoint.layouts import TARGETS

NATIVE, RECTANGLE = (64, 64), (96, 160)


def assert_same_outputs(model: MViT, run, size: tuple[int, int] = NATIVE) -> None:
    images = random_images(2, *size)
    with torch.no_grad():
        for a, b in zip(model.eval()(images), run(images), strict=True):
            assert_alive(b)
            assert relative_error(a, b) < 1e-5


def write_as(project: str, model: MViT) -> dict:
    (layout,) = TARGETS[project]["MViT"]
    assert layout.holds(model.state_dict())
    return layout.from_native(model.state_dict())


def timm_peer(expand_attn: bool, cls_token: bool) -> MultiScaleVit:
    cfg = MultiScaleVitCfg(
        depths=TINY["depths"],
        embed_dim=TINY["embed_dims"],
        expand_attn=expand_attn,
        use_cls_token=cls_token,
        use_abs_pos=cls_token,
    )
    return randomize(MultiScaleVit(cfg, img_size=64, num_classes=3, global_pool="")).eval()


@pytest.mark.parametrize("cls_token", [True, False])
@pytest.mark.parametrize("expand_attn", [True, False])
def test_timm(expand_attn, cls_token, tmp_path) -> None:
    peer = timm_peer(expand_attn, cls_token)
    safetensors.torch.save_file(peer.state_dict(), tmp_path / "model.safetensors")
    settings = dict(cls_token=cls_token, pos_embed="joint" if cls_token else "none")
    model = MViT(TINY, dim_mul_in_attention=expand_attn, out_type="raw", **settings)
    report = load_checkpoint(model, tmp_path)
    assert report.layout == "timm" and not report.unfilled
    assert set(report.left) == {"head.fc.weight", "head.fc.bias"}
    assert_same_outputs(model, lambda x: (peer.forward_features(x),))
    fresh = timm_peer(expand_attn, cls_token)
    missing, unexpected = fresh.load_state_dict(write_as("timm", randomize(model, 1)), strict=False)
    assert set(missing) == set(report.left) and not unexpected
    assert_same_outputs(model, lambda x: (fresh.forward_features(x),))


@pytest.mark.parametrize("in_attention", [True, False])
@pytest.mark.parametrize("stage", [1, 3])
def test_mmpretrain(stage, in_attention, tmp_path) -> None:
    """A whole classifier, as mmengine's runner writes it."""
    from mmpretrain.models import MViT as Reference

    arch = dict(embed_dims=16, num_layers=6, num_heads=1, downscale_indices=[1, 3, 5])
    settings = dict(img_size=64, out_scales=[stage], dim_mul_in_attention=in_attention)
    peer = randomize(Reference(arch, use_abs_pos_embed=True, **settings))
    peer.eval()
    whole = nn.ModuleDict({"backbone": peer, "head": nn.Linear(4, 4)})
    save_checkpoint(dict(state_dict=whole.state_dict()), str(tmp_path / "epoch_1.pth"))
    model = MViT(TINY, dim_mul_in_attention=in_attention, out_indices=stage, pos_embed="joint")
    report = load_checkpoint(model, tmp_path / "epoch_1.pth")
    assert report.prefix == "backbone." and not report.unfilled
    assert set(report.left) == {"head.weight", "head.bias"}
    assert_same_outputs(model, peer, RECTANGLE)
    peer.load_state_dict(write_as("mmpretrain", randomize(model, 1)))
    assert_same_outputs(model, peer, RECTANGLE)


def test_torchvision_of_one_frame(tmp_path) -> None:
    peer = randomize(torchvision_v1()).eval()
    torch.save(peer.state_dict(), tmp_path / "mvit.pth")
    model = MViT("mvit_b16", embed_dims=16, depths=(1, 2, 2, 1), img_size=64)
    report = load_checkpoint(model, tmp_path / "mvit.pth")
    assert report.layout == "torchvision" and not report.unfilled and not report.left
    assert_same_outputs(model, lambda x: (peer(x[:, :, None]),))
    peer.load_state_dict(write_as("torchvision", randomize(model, 1)))
    assert_same_outputs(model, lambda x: (peer(x[:, :, None]),))


def version1() -> MViT:
    return MViT("mvit_b16", embed_dims=16, depths=(1, 2, 2, 1), img_size=64)


def slowfast(encoder: MViT) -> dict:
    """Queries, keys and values apart, kernels of one frame."""
    state = {}
    for name, tensor in encoder.state_dict().items():
        if ".attn.qkv." in name:
            parts = zip("qkv", tensor.chunk(3))
            state |= {name.replace("qkv", part): chunk for part, chunk in parts}
        else:
            state[name] = tensor[:, :, None] if ".pool_" in name else tensor
    return state


@pytest.mark.parametrize("joint", [True, False])
def test_pytorchvideo(joint) -> None:
    encoder, back = randomize(version1()), version1()
    state = {}
    for name, tensor in (encoder.state_dict() if joint else slowfast(encoder)).items():
        if name.startswith(("cls_token", "pos_embed")):
            name = f"cls_positional_encoding.{name}"
        name = name.replace("patch_embed.proj", "patch_embed.patch_model")
        state[f"norm_embed.{name[5:]}" if name.startswith("norm.") else name] = tensor
    report = load_checkpoint(back, {"model_state": {**state, "head.proj.weight": torch.ones(3)}})
    assert not report.unfilled and list(report.left) == ["head.proj.weight"]
    assert_same_outputs(back, encoder.eval())


def test_a_norm_of_the_patches_is_foreign() -> None:
    state = slowfast(version1())
    load_checkpoint(version1(), state)
    with pytest.raises(UserError, match=r"parts like norm_stem\.weight"):
        load_checkpoint(version1(), {**state, "norm_stem.weight": torch.ones(16)})


def test_models_of_video_are_refused() -> None:
    with pytest.raises(UserError, match="a model of video"):
        load_checkpoint(version1(), torchvision_v1(frames=4).state_dict())
    kinetics = MViT("mvitv2_t", **TINY)
    state = {n: t[:, :, None] if ".pool_" in n else t for n, t in kinetics.state_dict().items()}
    state["patch_embed.proj.weight"] = torch.zeros(16, 3, 3, 7, 7)
    state["blocks.0.attn.rel_pos_t"] = torch.zeros(15, 16)
    with pytest.raises(UserError, match="a model of video"):
        load_checkpoint(kinetics, state)


def authors_detector(encoder: MViT) -> dict:
    """Names of detectron2's MViT in its feature pyramid."""
    names = {"norm": "scale5_norm", **{f"norm{i}": f"scale{i + 2}_norm" for i in range(3)}}
    state = {}
    for name, tensor in encoder.state_dict().items():
        first, _, rest = name.partition(".")
        state[f"backbone.bottom_up.{names.get(first, first)}.{rest}"] = tensor
    return state


def test_detectron2() -> None:
    encoder, model = (MViT(TINY, out_indices=(0, 1, 2, 3)) for _ in range(2))
    state = authors_detector(randomize(encoder).eval())
    report = load_checkpoint(model, {"model": {**state, "roi_heads.a.weight": torch.zeros(2)}})
    assert not report.unfilled and list(report.left) == ["roi_heads.a.weight"]
    assert_same_outputs(model, encoder)


def test_norms_of_classifiers_and_detectors() -> None:
    classifier, detector = randomize(MViT(TINY)).eval(), MViT(TINY, out_indices=(1, 3))
    report = load_checkpoint(detector, classifier.state_dict())
    assert list(report.unfilled) == ["norm1.weight", "norm1.bias"]
    assert_same_outputs(classifier, lambda x: detector.eval()(x)[-1:])
    report = load_checkpoint(classifier, randomize(detector, 1).state_dict())
    assert not report.unfilled and list(report.left) == ["norm1.weight", "norm1.bias"]
    assert_same_outputs(classifier, lambda x: detector(x)[-1:])


def test_slowfasts_kernels_of_one_frame() -> None:
    """Its pooling convolves frames, too, in models of images as well."""
    settings = dict(embed_dims=16, depths=(1, 2, 2, 1), img_size=64)
    encoder, model = (MViT("mvit_b16", **settings) for _ in range(2))
    state = {
        name: tensor[:, :, None] if ".pool_" in name else tensor
        for name, tensor in randomize(encoder).eval().state_dict().items()
    }
    assert any(tensor.ndim == 5 for tensor in state.values())
    state["head.projection.weight"] = torch.zeros(3, 128)
    report = load_checkpoint(model, {"model_state": state})
    assert report.layout == "MViT's authors" and not report.unfilled
    assert_same_outputs(model, encoder)


def test_no_layout_takes_what_it_cannot_hold() -> None:
    v1, v2 = MViT("mvit_b16", **TINY), MViT(TINY)
    held = {
        (project, name)
        for project, layouts in TARGETS.items()
        for name, model in (("v1", v1), ("v2", v2))
        if any(layout.holds(model.state_dict()) for layout in layouts.get("MViT", ()))
    }
    assert held == {("timm", "v2"), ("mmpretrain", "v2"), ("torchvision", "v1")}
