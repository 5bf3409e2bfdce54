"""Plain ViTs: a peer's weights, as the peer itself saves them, give the peer's outputs."""

from __future__ import annotations

import pytest
import torch

from tests.backbones.vit_peers import PAIRS, SIZE
from tests.parity import assert_alive, random_images, randomize, relative_error
from vit_backbones import build_backbone
from vit_backbones.checkpoint import load_checkpoint


def assert_same_outputs(pair, size: int = SIZE) -> None:
    images = random_images(2, size, size)
    pair.model.eval(), pair.peer.eval()
    with torch.no_grad():
        for ours, theirs in zip(pair.model(images), pair.run(images), strict=True):
            assert_alive(theirs)
            assert relative_error(ours, theirs) < 1e-5


@pytest.mark.parametrize("name", PAIRS)
def test_a_state_dict_in_memory(name: str) -> None:
    pair = PAIRS[name]()
    randomize(pair.peer)
    report = load_checkpoint(pair.model, pair.peer.state_dict())
    assert not report.unfilled
    assert_same_outputs(pair)


@pytest.mark.parametrize("name", [name for name in PAIRS if "transformers" in name])
def test_a_folder_of_transformers(name: str, tmp_path) -> None:
    pair = PAIRS[name]()
    randomize(pair.peer).save_pretrained(tmp_path)
    report = load_checkpoint(pair.model, tmp_path)
    assert report.layout.startswith("Hugging Face")
    assert_same_outputs(pair)


TINY = dict(embed_dims=32, depth=2, num_heads=2, patch_size=4, img_size=16)


@pytest.mark.parametrize(
    ("prefixes", "chosen"),
    [
        (("encoder.", "encoder_ema."), "encoder_ema."),
        (("module.student.", "module.teacher."), "module.teacher."),
        (("image_encoder.", "semantic_encoder."), "image_encoder."),  # no 'ema' of its own
    ],
)
def test_the_average_of_several_copies(prefixes, chosen) -> None:
    model = build_backbone("vit_b16", **TINY)
    file = {prefix + n: t for prefix in prefixes for n, t in model.state_dict().items()}
    assert load_checkpoint(model, file).prefix == chosen


def test_relative_positions_of_scaled_queries() -> None:
    """As ViTAE's ViTDet has them, which its pyramid inside the backbone gives away."""
    settings = dict(TINY, position=("learned", "decomposed"), cls_token=False, out_type="featmap")
    file, model = (build_backbone("vit_b16", **settings) for _ in range(2))
    state = randomize(file).state_dict()
    pyramid = {"fpn1.0.weight": torch.ones(1), "fpn1.1.ln.weight": torch.ones(32)}
    load_checkpoint(model, {f"backbone.{n}": t for n, t in (state | pyramid).items()})
    for name, tensor in model.state_dict().items():
        scale = 16**-0.5 if ".rel_pos_" in name else 1.0
        torch.testing.assert_close(tensor, state[name] * scale)
