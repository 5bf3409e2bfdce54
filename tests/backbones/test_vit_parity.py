"""VisionTransformer against independent implementations that have the same random weights."""

from __future__ import annotations

import pytest
from torch import Tensor
from torch.nn import functional as F
from torchvision.models import vision_transformer as torchvision_vit

from tests.backbones.vit_peers import PAIRS, PATCH, SIZE, torchvision_pair
from tests.parity import assert_parity, by_our_names, random_images, randomize

SIZES = {"native": (SIZE, SIZE), "larger": (28, 28), "rectangle": (20, 36), "padded": (21, 30)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PAIRS)
def test_outputs_and_gradients_equal_the_peers(name: str, size: str) -> None:
    pair = PAIRS[name]()
    randomize(pair.peer)
    height, width = SIZES[size]

    def run(x: Tensor) -> tuple[Tensor, ...]:
        # a peer that cuts the rest off gets it padded
        right, bottom = (0, 0) if pair.pads else (-width % PATCH, -height % PATCH)
        return pair.run(F.pad(x, (0, right, 0, bottom)))

    images = random_images(2, height, width)
    assert_parity(pair.model, pair.peer, run, images)


def test_torchvision_native() -> None:
    pair = torchvision_pair()
    randomize(pair.peer)
    images = random_images(2, SIZE, SIZE)
    assert_parity(pair.model, pair.peer, pair.run, images)


def test_torchvision_larger() -> None:
    """torchvision interpolates when weights are loaded: its gradient of positions is elsewhere."""
    small, large = torchvision_pair(), torchvision_pair(28)
    weights = randomize(small.peer).state_dict()
    position = weights["encoder.pos_embedding"]
    large.peer.load_state_dict(torchvision_vit.interpolate_embeddings(28, PATCH, weights.copy()))
    assert_parity(
        large.model,
        large.peer,
        large.run,
        random_images(2, 28, 28),
        lambda model, named: {**by_our_names(model, named), "pos_embed": position},
        without_gradient=("pos_embed",),
    )
