"""The augmentation that paints digits on other grounds than black."""

from __future__ import annotations

import numpy as np
import pytest

from vit_backbones.datasets import RandomGround, random_ground

SQUARE = np.zeros((16, 16, 3), np.uint8)
SQUARE[4:12, 4:12] = 255


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


def painted(count: int = 40) -> list[np.ndarray]:
    transform = RandomGround(prob=1)
    return [transform(dict(img=SQUARE.copy(), gt_label=1))["img"] for _ in range(count)]


def test_the_stroke_stays_where_it_is_in_contrast_to_the_ground():
    differences = []
    for image in painted():
        assert (image.shape, image.dtype) == (SQUARE.shape, np.uint8)
        inside, around = image[4:12, 4:12].reshape(-1, 3), image[SQUARE[..., 0] == 0]
        assert len(np.unique(inside, axis=0)) == 1  # one colour
        differences.append(inside.mean() - around.mean())
    assert min(np.abs(differences)) > 5 and np.median(np.abs(differences)) > 50
    assert 0.2 < np.mean(np.array(differences) < 0) < 0.8  # both lighter and darker


def test_grounds_are_plain_or_photographed():
    plain = [len(np.unique(image[SQUARE[..., 0] == 0], axis=0)) == 1 for image in painted()]
    assert 0.2 < np.mean(plain) < 0.8


def test_photographs_are_those_that_train(monkeypatch):
    splits = []
    original = random_ground.background
    monkeypatch.setattr(
        random_ground, "background", lambda split, *a: splits.append(split) or original(split, *a)
    )
    painted()
    assert set(splits) == {"train"}


@pytest.mark.parametrize("prob, low, high", [(0, 0, 0), (0.5, 0.3, 0.7), (1, 1, 1)])
def test_prob_is_the_share_that_is_painted(prob, low, high):
    transform = RandomGround(prob)
    changed = [(transform(dict(img=SQUARE.copy()))["img"] != SQUARE).any() for _ in range(100)]
    assert low <= np.mean(changed) <= high


def test_it_follows_from_numpys_seed():
    first = painted(5)
    np.random.seed(0)
    assert all((a == b).all() for a, b in zip(first, painted(5), strict=True))


def test_an_empty_image_is_painted_too():
    image = RandomGround(prob=1)(dict(img=np.zeros((8, 8, 3), np.uint8)))["img"]
    assert image.shape == (8, 8, 3)
