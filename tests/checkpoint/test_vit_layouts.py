"""Plain ViTs: a peer's weights, as the peer itself saves them, give the peer's outputs."""

from __future__ import annotations

import pytest
import torch

from tests.backbones.vit_peers import PAIRS, SIZE
from tests.parity import assert_alive, random_images, randomize, relative_error
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
