"""Windows of Swin that shapes don't tell: version 2's, and those that shrank with the map."""

from __future__ import annotations

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from torch import Tensor

from tests.parity import assert_alive, random_images, randomize, relative_error
from vit_backbones import SwinTransformer, UserError, build_backbone, load_checkpoint
from vit_backbones.checkpoint.converting import convert
from vit_backbones.checkpoint.finding import find_encoder
from vit_backbones.layers.relative_bias import log_spaced_offsets

TINY = dict(embed_dims=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))
FINE_TUNED = dict(window_size=16, pretrained_window_sizes=(12, 12, 12, 6))


def authors_file(**settings) -> dict[str, Tensor]:
    """As the authors' code writes it: with the offsets of each block's window."""
    encoder = build_backbone("swinv2_t", **{**TINY, **settings})
    state, arch = encoder.state_dict(), encoder.arch
    for stage, (window, unit) in enumerate(zip(arch.windows, arch.pretrained_windows)):
        side = min(window, *arch.grids[stage])
        offsets = log_spaced_offsets(side, unit, torch.zeros(()))
        shaped = offsets.reshape(1, 2 * side - 1, 2 * side - 1, 2)
        for block in range(arch.depths[stage]):
            state[f"layers.{stage}.blocks.{block}.attn.relative_coords_table"] = shaped
    return state


@pytest.mark.parametrize(
    ("file", "model"),
    [
        (dict(), dict()),
        (dict(window_size=16), dict(window_size=16)),
        (dict(window_size=16), dict(window_size=16, img_size=512)),
        (dict(window_size=16), dict(window_size=(16, 16, 16, 8))),
        (dict(window_size=12, img_size=192), FINE_TUNED),
        (FINE_TUNED, FINE_TUNED),
        (FINE_TUNED, dict(FINE_TUNED, window_size=24, img_size=384)),
    ],
    ids=str,
)
def test_the_same_offsets(file, model) -> None:
    report = load_checkpoint(build_backbone("swinv2_t", **TINY, **model), authors_file(**file))
    assert not report.unfilled


@pytest.mark.parametrize(
    ("file", "model", "advice"),
    [
        (FINE_TUNED, dict(window_size=16), r"pretrained_window_sizes=\(12, 12, 12, 6\)"),
        (FINE_TUNED, dict(), r"pretrained_window_sizes=\(12, 12, 12, 6\)"),
        (dict(), dict(window_size=16), "pretrained_window_sizes=8"),
        (dict(), dict(pretrained_window_sizes=12), "pretrained_window_sizes=8"),
    ],
    ids=str,
)
def test_other_offsets(file, model, advice) -> None:
    encoder = build_backbone("swinv2_t", **TINY, **model)
    before = {n: t.clone() for n, t in encoder.state_dict().items()}
    with pytest.raises(UserError, match=advice):
        load_checkpoint(encoder, authors_file(**file))
    assert all(torch.equal(t, before[n]) for n, t in encoder.state_dict().items())
    load_checkpoint(encoder, authors_file(**file), strict=False)


@pytest.mark.parametrize("settings", [dict(), dict(window_size=16), FINE_TUNED], ids=str)
def test_a_file_tells_its_windows(settings) -> None:
    """At the published width, which finds the preset; images of 256 pixels, as its."""
    state = authors_file(embed_dims=96, depths=(2, 2, 6, 2), num_heads=None, **settings)
    (encoder,) = find_encoder({"model": state}).encoders.values()
    assert encoder.arch == build_backbone("swinv2_t", **settings).arch


def test_a_file_does_not_tell_its_windows(tmp_path) -> None:
    with torch.device("meta"):
        state = build_backbone("swinv2_t").state_dict()
    state = {n: torch.zeros(t.shape) for n, t in state.items()}
    done = convert(state, tmp_path / "swin.pth", "timm")
    assert done.code is None and not done.found.encoders


def test_windows_that_shrank_keep_their_table() -> None:
    """Windows of 8, and maps of 16, 8 and 4."""
    settings = dict(depths=(2, 2, 2), num_heads=(1, 2, 4), window_size=8, img_size=64)
    peer = randomize(TimmSwin(embed_dim=16, num_classes=0, **settings)).eval()
    encoder = SwinTransformer(dict(embed_dims=16), **settings).eval()
    report = load_checkpoint(encoder, peer.state_dict())
    name = "layers.2.blocks.0.attn.relative_position_bias_table"
    assert report.resized[name] == ((49, 4), (225, 4))
    images = random_images(2, 64, 64)
    with torch.no_grad():
        theirs = peer.forward_features(images).permute(0, 3, 1, 2)
        assert_alive(theirs)
        assert relative_error(encoder(images)[0], theirs) < 1e-5


@pytest.mark.parametrize("value", [float("inf"), 1e9])
def test_offsets_that_no_window_has(value) -> None:
    state = authors_file()
    for name in [n for n in state if n.endswith("relative_coords_table")]:
        state[name] = torch.full_like(state[name], value)
    with pytest.raises(UserError, match="position biases of windows of 1;"):
        load_checkpoint(build_backbone("swinv2_t", **TINY), state)


def test_empty_offsets_tell_nothing() -> None:
    name = "layers.0.blocks.0.attn.relative_coords_table"
    state = authors_file() | {name: torch.zeros(0)}
    load_checkpoint(build_backbone("swinv2_t", **TINY), state)


@pytest.mark.parametrize("shape", [(), (50, 4), (49,), (0, 4)])
def test_tables_of_no_window(shape) -> None:
    encoder = SwinTransformer(dict(embed_dims=16), depths=(2, 2, 2), num_heads=(1, 2, 4))
    name = "layers.2.blocks.0.attn.relative_position_bias_table"
    state = encoder.state_dict() | {name: torch.zeros(shape)}
    with pytest.raises(UserError, match=f"does not fill 1 .*{name}"):
        load_checkpoint(encoder, state)
