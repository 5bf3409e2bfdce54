"""Digit scenes: what is in them, and that nothing of the held-out ones is seen in training."""

from __future__ import annotations

import hashlib
import platform

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from vit_backbones.datasets import Digits, scenes
from vit_backbones.datasets.scenes import MAX_DIGITS, MIN_VISIBLE, SIDES, compose_scene

SCENES = [compose_scene(split, i) for split in ("train", "val") for i in range(20)]


def test_sizes_and_counts_vary_within_their_bounds():
    heights, widths = zip(*(scene.image.shape[:2] for scene in SCENES))
    assert {*heights, *widths} <= set(SIDES)
    assert min(SIDES) == 128 and max(SIDES) == 256
    assert any(h != w for h, w in zip(heights, widths))
    counts = {len(scene.labels) for scene in SCENES}
    assert min(counts) == 1 and max(counts) == MAX_DIGITS == 6
    assert {label for scene in SCENES for label in scene.labels} == set(range(10))


def test_masks_do_not_overlap_and_boxes_are_their_bounds():
    for scene in SCENES:
        assert scene.image.dtype == np.uint8
        assert scene.masks.shape == (len(scene.labels), *scene.image.shape[:2])
        assert scene.masks.sum(axis=0).max() == 1
        for mask, (x, y, w, h) in zip(scene.masks, scene.boxes):
            inside = np.zeros_like(mask)
            inside[y : y + h, x : x + w] = True
            assert not (mask & ~inside).any()
            edges = (mask[y], mask[y + h - 1], mask[:, x], mask[:, x + w - 1])
            assert all(edge.any() for edge in edges)


def test_the_semantic_map_is_that_of_the_masks():
    for scene in SCENES:
        covered = scene.masks.any(axis=0)
        assert (scene.semantic_map[~covered] == 0).all()
        for label, mask in zip(scene.labels, scene.masks):
            assert (scene.semantic_map[mask] == 1 + label).all()


def test_digits_below_others_stay_legible(monkeypatch):
    """What is seen of each, over what is seen when nothing is put on it afterwards."""
    for scene, index in zip(SCENES[:20], range(20)):
        for kept in range(1, len(scene.labels)):
            alone = _first_digits("train", index, kept, monkeypatch)
            assert (alone.labels == scene.labels[:kept]).all()
            whole = alone.masks[-1].sum()
            assert MIN_VISIBLE * whole <= scene.masks[kept - 1].sum() <= whole


def _first_digits(split: str, index: int, count: int, monkeypatch) -> scenes.Scene:
    """The scene as it was when ``count`` digits were in it."""
    found, place = [], scenes._find_place

    def stop(*args):
        found.append(None)
        return None if len(found) > count else place(*args)

    with monkeypatch.context() as patch:
        patch.setattr(scenes, "_find_place", stop)
        return compose_scene(split, index)


def test_strokes_differ_from_what_is_around_them():
    """Both light on dark and dark on light, the strokes' mean far from that of their box."""
    signs = []
    for scene in SCENES:
        grey = scene.image.mean(axis=-1)
        free = ~scene.masks.any(axis=0)
        for mask, (x, y, w, h) in zip(scene.masks, scene.boxes):
            around = free[y : y + h, x : x + w]
            if around.sum() > 0.3 * w * h:
                signs.append(grey[mask].mean() - grey[y : y + h, x : x + w][around].mean())
    assert np.median(np.abs(signs)) > 50
    assert 0.05 < np.mean(np.array(signs) < 0) < 0.5  # the photographs are rather dark


def test_a_scene_follows_from_its_seed_number_and_split_alone():
    first = compose_scene("train", 3)
    compose_scene("train", 4)
    again = compose_scene("train", 3)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.masks.tobytes() == again.masks.tobytes()
    for other in (compose_scene("val", 3), compose_scene("train", 3, seed=1)):
        assert other.image.tobytes() != first.image.tobytes()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="rotates a bit otherwise")
def test_scenes_are_those_of_every_machine():
    """If this fails where the code is the same, the image library draws otherwise; if the code
    changed, raise scenes_on_disk.VERSION."""
    digest = hashlib.sha256()
    for scene in SCENES:
        digest.update(scene.semantic_map.tobytes() + scene.image.tobytes())
    assert digest.hexdigest()[:16] == "236f4c54486ecfb0"


@pytest.mark.parametrize("part", ["digits", "photographs"])
def test_held_out_scenes_show_nothing_that_trains(part):
    if part == "digits":
        train, val = ({d.tobytes() for d in scenes._digits(s)[0]} for s in ("train", "val"))
        assert (len(train), len(val)) == (len(Digits("train")), len(Digits("val")))
        assert not train & val
    else:
        for name, *parts in zip(
            ("china.jpg", "flower.jpg"), scenes._photos("train"), scenes._photos("val")
        ):
            whole = load_sample_image(name)
            assert (np.concatenate(parts, axis=1) == whole).all()  # side by side: no pixel twice
            assert all(part.shape[1] >= whole.shape[1] // 4 for part in parts)


def test_backgrounds_come_from_the_part_of_their_split(monkeypatch):
    """With one colour for each part, a scene has only that of its own."""
    colours = dict(train=200, val=100)
    monkeypatch.setattr(
        scenes,
        "_photos",
        lambda split: [np.full((427, 213, 3), colours[split], np.uint8)] * 2,
    )
    for split, level in colours.items():
        random = np.random.RandomState(0)
        background = scenes.background(split, 128, 160, random)
        assert background.shape == (128, 160, 3)
        assert background.min() == background.max() and level // 2 <= background.max() <= level


def test_unknown_split():
    with pytest.raises(ValueError, match="'train' and 'val', not 'test'"):
        compose_scene("test", 0)
