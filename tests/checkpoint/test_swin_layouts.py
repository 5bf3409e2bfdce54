"""Swin and Swin v2: files that the peers' own code writes give the peers' outputs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm.models
import torch
import transformers
from mmengine.runner import save_checkpoint
from torch import Tensor, nn

from tests.backbones.swin_peers import (
    DEPTHS,
    DIM,
    HEADS,
    STAGES,
    WINDOW,
    hf_config,
    hf_model_pair,
    mmdet_pair,
    mmpretrain_pair,
    ours,
    timm_pair,
    torchvision_pair,
)
from tests.parity import assert_alive, random_images, randomize, relative_error
from vit_backbones import SwinTransformer, load_checkpoint
from vit_backbones.checkpoint.layouts import TARGETS

SIZES = {"native": (64, 64), "rectangle": (128, 192)}
Run = Callable[[Tensor], tuple[Tensor, ...]]


def assert_same_outputs(
    model: SwinTransformer, peer: nn.Module, run: Run, size: tuple[int, int]
) -> None:
    images = random_images(2, *size)
    model.eval(), peer.eval()
    with torch.no_grad():
        for a, b in zip(model(images), run(images), strict=True):
            assert_alive(b)
            assert relative_error(a, b) < 1e-5


def last_map(features: Callable[[Tensor], Tensor]) -> Run:
    return lambda images: (features(images).permute(0, 3, 1, 2),)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("version", [1, 2])
def test_timm(version, size, tmp_path) -> None:
    peer = randomize(timm_pair(version, size).peer.peer)
    timm.models.save_for_hf(peer, tmp_path, model_config=dict(num_classes=0))
    model = ours(version, out_indices=-1)
    report = load_checkpoint(model, tmp_path)
    assert report.layout == "timm" and not report.unfilled and not report.left
    assert_same_outputs(model, peer, last_map(peer.forward_features), size)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("version", [1, 2])
def test_torchvision(version, size, tmp_path) -> None:
    peer = randomize(torchvision_pair(version).peer.peer)
    torch.save(peer.state_dict(), tmp_path / "swin.pth")
    model = ours(version, out_indices=-1)
    report = load_checkpoint(model, tmp_path / "swin.pth")
    assert report.layout == "torchvision" and not report.unfilled
    assert {n for n in report.left if "relative" not in n} == {"head.weight", "head.bias"}
    assert_same_outputs(model, peer, last_map(lambda x: peer.norm(peer.features(x))), size)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("version", [1, 2])
def test_transformers_classifier(version, size, tmp_path) -> None:
    pair = hf_model_pair(version, size)
    kind = "Swin" if version == 1 else "Swinv2"
    classifier = getattr(transformers, f"{kind}ForImageClassification")(hf_config(version, size))
    randomize(classifier).save_pretrained(tmp_path)
    pair.peer.load_state_dict(getattr(classifier, kind.lower()).state_dict(), strict=False)
    report = load_checkpoint(pair.model, tmp_path)
    assert not report.unfilled
    assert set(report.left) == {"classifier.weight", "classifier.bias"}
    assert_same_outputs(pair.model, pair.peer, pair.run, size)


@pytest.mark.parametrize("in_memory", [True, False])
def test_transformers_segmenter(in_memory, tmp_path) -> None:
    """UPerNet: its backbone has norms of its outputs, beside a final norm that it doesn't use."""
    config = transformers.UperNetConfig(
        backbone_config=hf_config(1, (64, 64)),
        hidden_size=8,
        pool_scales=[1],
        use_auxiliary_head=False,
    )
    peer = randomize(transformers.UperNetForSemanticSegmentation(config))
    peer.save_pretrained(tmp_path)
    run = lambda images: peer.backbone(images).feature_maps  # noqa: E731
    for indices in (STAGES, STAGES[-1:]):
        model = ours(1, pad_small_map=True, out_indices=indices)
        report = load_checkpoint(model, peer.state_dict() if in_memory else tmp_path)
        assert not report.unfilled
        count = len(indices)
        assert_same_outputs(model, peer, lambda x, count=count: run(x)[-count:], (64, 96))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(
    "pair",
    [lambda: mmpretrain_pair(1), lambda: mmpretrain_pair(2), mmdet_pair],
    ids=["mmpretrain", "mmpretrain v2", "mmdet"],
)
def test_openmmlab(pair, size, tmp_path) -> None:
    """A whole model, as mmengine's runner writes it."""
    pair = pair()
    whole = nn.ModuleDict({"backbone": randomize(pair.peer), "head": nn.Linear(4, 4)})
    checkpoint = dict(state_dict=whole.state_dict(), meta=dict(epoch=1), optimizer=dict())
    save_checkpoint(checkpoint, str(tmp_path / "epoch_1.pth"))
    report = load_checkpoint(pair.model, tmp_path / "epoch_1.pth")
    assert report.prefix == "backbone." and not report.unfilled
    assert {n for n in report.left if "relative" not in n} == {"head.weight", "head.bias"}
    assert_same_outputs(pair.model, pair.peer, pair.run, size)


def test_mmseg() -> None:
    from mmseg.models.backbones import SwinTransformer as MMSegSwin

    peer = MMSegSwin(
        embed_dims=DIM,
        depths=DEPTHS,
        num_heads=HEADS,
        strides=(4, 2, 2),
        window_size=WINDOW,
        out_indices=STAGES,
    )
    model = ours(1, pad_small_map=True)
    load_checkpoint(model, randomize(peer).state_dict())
    assert_same_outputs(model, peer, peer, (76, 108))


@pytest.mark.parametrize("version", [1, 2])
def test_the_authors_constants_are_left_aside(version) -> None:
    """Their files hold masks and indices; their pre-training has names in 'encoder.'."""
    source = randomize(ours(version, out_indices=-1))
    model = ours(version, out_indices=-1)
    state = {f"encoder.{name}": tensor for name, tensor in source.state_dict().items()}
    for name in ("attn_mask", "attn.relative_position_index", "attn.relative_coords_table"):
        state[f"encoder.layers.0.blocks.1.{name}"] = torch.zeros(4, 16, 16)
    state["encoder.mask_token"] = torch.zeros(1, 1, DIM)
    report = load_checkpoint(model, {"model": state})
    assert report.layout == "Swin's authors" and not report.unfilled
    assert set(report.left.values()) == {"not needed"}
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_norms_of_classifiers_and_detectors() -> None:
    """A detector begins the norms of its outputs anew, as the authors' does; a classifier takes the
    last of a detector's for its own."""
    classifier, detector = randomize(ours(1, out_indices=-1)), ours(1)
    report = load_checkpoint(detector, classifier.state_dict())
    norms = [f"norm{i}.{name}" for i in STAGES for name in ("weight", "bias")]
    assert list(report.unfilled) == norms
    assert report.left == dict.fromkeys(("norm.weight", "norm.bias"), "the model has no such part")
    state = {f"backbone.{n}": t for n, t in randomize(detector, 1).eval().state_dict().items()}
    report = load_checkpoint(classifier, state)
    assert not report.unfilled and list(report.left) == [f"backbone.{name}" for name in norms[:-2]]
    assert_same_outputs(classifier, detector, lambda x: detector(x)[-1:], (64, 96))


def write_as(project: str, model: SwinTransformer) -> dict[str, Tensor]:
    native = model.state_dict()
    layout = next(x for x in TARGETS[project]["SwinTransformer"] if x.holds(native))
    return layout.from_native(native)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("project", ["timm", "torchvision", "mmpretrain", "mmdet", "huggingface"])
def test_written_names_are_the_peers(project, version) -> None:
    """Every name and shape of the peer, and the peer's outputs from what was written."""
    if project == "mmdet" and version == 2:
        assert not any(x.holds(ours(2).state_dict()) for x in TARGETS["mmdet"]["SwinTransformer"])
        return
    peer, run, settings = {
        "timm": lambda: timm_peer(version),
        "torchvision": lambda: torchvision_peer(version),
        "mmpretrain": lambda: mm_peer(mmpretrain_pair(version)),
        "mmdet": lambda: mm_peer(mmdet_pair()),
        "huggingface": lambda: hf_peer(version),
    }[project]()
    model = randomize(ours(version, **settings))
    written = write_as(project, model)
    missing, unexpected = peer.load_state_dict(written, strict=False)
    assert not unexpected
    # constants that depend on the window, which version 2's weights don't tell
    computed = ("relative_coords_table", "relative_position_index") if version == 2 else ()
    assert all(name.startswith("head") or name.endswith(computed) for name in missing)
    assert_same_outputs(model, peer, run, (64, 64))


def timm_peer(version: int) -> tuple:
    peer = timm_pair(version, (64, 64)).peer.peer
    return peer, last_map(peer.forward_features), dict(out_indices=-1)


def torchvision_peer(version: int) -> tuple:
    peer = torchvision_pair(version).peer.peer
    return peer, last_map(lambda x: peer.norm(peer.features(x))), dict(out_indices=-1)


def mm_peer(pair) -> tuple:
    return pair.peer, pair.run, dict(pad_small_map=pair.model.arch.pad_small_map)


def hf_peer(version: int) -> tuple:
    """Loaded by transformers itself, from a file."""
    pair = hf_model_pair(version, (64, 64))
    load = pair.peer.load_state_dict

    def from_file(written: dict, strict: bool) -> tuple:
        found, info = type(pair.peer).from_pretrained(
            None,
            config=pair.peer.config,
            state_dict=written,
            add_pooling_layer=False,
            output_loading_info=True,
        )
        load(found.state_dict())
        return info["missing_keys"], info["unexpected_keys"]

    pair.peer.load_state_dict = from_file
    return pair.peer, pair.run, dict(out_indices=-1)
