"""Swin's and MViT's files in their authors' names: whole, with another window, and refused."""

import pytest
import torch

from tests.parity import randomize
from vit_backbones import UserError, build_backbone
from vit_backbones.checkpoint import load_checkpoint

TINY = {
    "swin_t": dict(embed_dims=32, depths=(1, 2), window_size=4),
    "swinv2_t": dict(embed_dims=32, depths=(1, 2), window_size=4),
    "mvitv2_t": dict(embed_dims=32, depths=(1, 2), img_size=64),
}


def classifier_file(name: str) -> tuple[torch.nn.Module, dict]:
    encoder = randomize(build_backbone(name, **TINY[name])).eval()
    state = {f"backbone.{key}": value for key, value in encoder.state_dict().items()}
    return encoder, {**state, "head.fc.weight": torch.zeros(10, 64)}


@pytest.mark.parametrize("name", TINY)
def test_the_encoder_of_a_classifier(name) -> None:
    encoder, state = classifier_file(name)
    model = build_backbone(name, **TINY[name]).eval()
    report = load_checkpoint(model, state, quiet=True)
    assert not report.unfilled and list(report.left) == ["head.fc.weight"]
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(model(images), encoder(images))


@pytest.mark.parametrize("name", TINY)
def test_a_detector_starts_its_further_norms_anew(name) -> None:
    _, state = classifier_file(name)
    model = build_backbone(name, out_indices=(0, 1), **TINY[name])
    report = load_checkpoint(model, state, quiet=True)
    assert all(key.startswith("norm") for key in report.unfilled)


def test_another_window() -> None:
    _, state = classifier_file("swin_t")
    model = build_backbone("swin_t", **{**TINY["swin_t"], "window_size": 6})
    report = load_checkpoint(model, state, quiet=True)
    assert report.resized["layers.0.blocks.0.attn.relative_position_bias_table"] == (
        (49, 1),
        (121, 1),
    )


@pytest.mark.parametrize("name", TINY)
def test_half_a_file_is_refused_and_changes_nothing(name) -> None:
    _, state = classifier_file(name)
    half = dict(list(state.items())[: len(state) // 2])
    model = build_backbone(name, **TINY[name])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError, match="parameters"):
        load_checkpoint(model, half, quiet=True)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
