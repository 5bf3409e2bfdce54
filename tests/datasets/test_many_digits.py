"""The augmentation that puts several digits on a larger ground."""

from __future__ import annotations

import numpy as np
import pytest

from vit_backbones import UserError
from vit_backbones.datasets import ManyDigits, many_digits, scenes

DIGIT = np.zeros((10, 10, 3), np.uint8)
DIGIT[3:7, 4:6] = 255


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


def results(others: int, count: int = 40) -> list[dict]:
    transform = ManyDigits(size=24, others=others, scene_side=24)
    return [transform(dict(img=DIGIT.copy(), gt_label=7)) for _ in range(count)]


def test_a_digit_alone_has_the_whole_share_and_is_anywhere(monkeypatch):
    monkeypatch.setattr(
        many_digits, "random_ground", lambda h, w: np.full((h, w, 3), 100, np.uint8)
    )
    corners = set()
    for result in results(others=0):
        image = result["img"]
        assert (image.shape, image.dtype) == ((24, 24, 3), np.uint8)
        assert result["gt_score"].dtype == np.float32
        assert (result["gt_score"] == np.eye(10)[7]).all() and result["gt_label"] == 7
        rows, columns = np.nonzero((image != 100).any(axis=-1))
        corners.add((rows.min(), columns.min()))
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (4, 2)
    assert len(corners) > 20


def test_shares_are_those_of_the_digits_on_it(monkeypatch):
    pasted, original = [], many_digits.paste

    def paste(*args):
        pasted.append(original(*args))
        return pasted[-1]

    monkeypatch.setattr(many_digits, "paste", paste)
    for result, (labels, masks) in zip(results(others=3), pasted, strict=True):
        assert labels[0] == 7 and len(labels) == len(masks) <= 4
        for digit in range(10):
            assert result["gt_score"][digit] == np.float32(np.mean(labels == digit))
    assert {len(labels) for labels, _ in pasted} == {1, 2, 3, 4}


def test_the_others_are_training_digits_of_the_scenes_size(monkeypatch):
    asked = []
    original = scenes.draw_digit
    monkeypatch.setattr(
        many_digits,
        "draw_digit",
        lambda split, side, random: asked.append((split, side)) or original(split, side, random),
    )
    results(others=2)
    assert set(asked) == {("train", 24)}


def test_it_follows_from_numpys_seed():
    first = results(3, 5)
    np.random.seed(0)
    for a, b in zip(first, results(3, 5), strict=True):
        assert (a["img"] == b["img"]).all() and (a["gt_score"] == b["gt_score"]).all()


def test_what_is_larger_than_the_ground():
    with pytest.raises(UserError, match="10 x 10 pixels is larger than the ground of 9 x 9"):
        ManyDigits(size=9, others=1, scene_side=9)(dict(img=DIGIT.copy(), gt_label=7))
    transform = ManyDigits(size=10, others=3, scene_side=100)
    for _ in range(10):  # with 0 to 3 others, which find no place
        result = transform(dict(img=DIGIT.copy(), gt_label=7))
        assert (result["gt_score"] == np.eye(10)[7]).all()
