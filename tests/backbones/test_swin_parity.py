"""Swin against timm, torchvision, transformers, mmpretrain and mmdet: same random weights, same
maps, same gradients."""

import pytest

from tests.backbones.swin_peers import (
    Pair,
    hf_backbone_pair,
    hf_model_pair,
    mmdet_pair,
    mmpretrain_pair,
    timm_pair,
    torchvision_pair,
    translate,
)
from tests.parity import assert_parity, random_images, randomize

# With patches of 4 and windows of 4: maps that are whole windows; a rectangle; maps that are padded
# before each stage's attention and merging, in images whose sides divide by 4 and in others.
NATIVE, RECTANGLE, ODD, RAGGED = (64, 64), (128, 192), (76, 108), (75, 101)
SMALL = (24, 40)  # the last map is 2 x 3, smaller than the window


def check(pair: Pair, size: tuple[int, int]) -> None:
    randomize(pair.peer)
    assert_parity(pair.model, pair.peer, pair.run, random_images(2, *size), translate)


@pytest.mark.parametrize("size", [NATIVE, RECTANGLE])  # timm shifts before it pads
@pytest.mark.parametrize("version", [1, 2])
def test_timm(version, size):
    check(timm_pair(version, size), size)


@pytest.mark.parametrize("size", [NATIVE, RECTANGLE, ODD])  # torchvision crops ragged patches
@pytest.mark.parametrize("version", [1, 2])
def test_torchvision(version, size):
    check(torchvision_pair(version), size)


@pytest.mark.parametrize("size", [NATIVE, RECTANGLE, ODD, RAGGED])
@pytest.mark.parametrize("version", [1, 2])
def test_transformers_backbone(version, size):
    check(hf_backbone_pair(version, size), size)


@pytest.mark.parametrize("size", [NATIVE, RECTANGLE])
@pytest.mark.parametrize("version", [1, 2])
def test_transformers_model(version, size):
    check(hf_model_pair(version, size), size)


@pytest.mark.parametrize("size", [NATIVE, RECTANGLE, ODD, RAGGED])
@pytest.mark.parametrize("version", [1, 2])
def test_mmpretrain(version, size):
    check(mmpretrain_pair(version), size)


@pytest.mark.parametrize("size", [NATIVE, RECTANGLE, ODD, RAGGED, SMALL])
def test_mmdet(size):
    check(mmdet_pair(), size)


@pytest.mark.parametrize("version", [1, 2])
def test_small_maps_padded_up_to_the_window(version):
    check(mmpretrain_pair(version, pad_small_map=True), SMALL)


def test_small_map_shrinks_the_window():
    """timm builds each stage for its map, as the authors' classifier does; a table of its own size
    then stands in the place of ours."""
    size = (32, 32)  # maps of 8, 4 and 2 on a side
    check(timm_pair(1, size, window_size=(4, 4, 2)), size)
    check(timm_pair(2, size), size)


def test_pretrained_window_sizes():
    pretrained = (3, 3, 2)
    sizes = dict(pretrained_window_sizes=pretrained)
    check(timm_pair(2, NATIVE, timm=sizes, **sizes), NATIVE)
    check(mmpretrain_pair(2, pretrained_window_sizes=pretrained), ODD)
