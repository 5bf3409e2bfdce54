"""The demo data: which images train, which are held out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits

from vit_backbones.datasets import Digits

TRAIN, VAL = Digits("train"), Digits("val")


def pixels(dataset: Digits) -> list[bytes]:
    return [dataset.get_data_info(i)["img"].tobytes() for i in range(len(dataset))]


def labels(dataset: Digits) -> np.ndarray:
    return np.array([dataset.get_data_info(i)["gt_label"] for i in range(len(dataset))])


def test_every_image_is_in_one_split_with_its_label():
    assert len(TRAIN) + len(VAL) == 1797
    own = dict(zip(pixels(TRAIN) + pixels(VAL), [*labels(TRAIN), *labels(VAL)]))
    assert len(own) == 1797  # no two images are equal, so none is in both splits
    source = load_digits()
    for image, label in zip(source.images, source.target):
        grey = np.rint(image * 255 / 16).astype(np.uint8)
        assert own[np.stack([grey] * 3, axis=-1).tobytes()] == label


def test_a_fifth_of_each_class_is_held_out():
    assert len(VAL) >= 0.2 * 1797
    held_out, total = np.bincount(labels(VAL)), np.bincount(load_digits().target)
    assert (held_out / total >= 0.2).all()
    assert (held_out / total < 0.21).all()


def test_images_are_white_on_black_over_the_full_range():
    image = TRAIN.get_data_info(0)["img"]
    assert image.shape == (8, 8, 3)
    assert image.dtype == np.uint8
    everything = np.frombuffer(b"".join(pixels(TRAIN)), np.uint8)
    assert (everything.min(), everything.max()) == (0, 255)
    assert np.median(everything) < 100


def test_the_split_is_the_same_every_time_and_in_workers():
    assert pixels(Digits("val")) == pixels(VAL)
    assert pixels(pickle.loads(pickle.dumps(VAL))) == pixels(VAL)  # as spawned workers get it


def test_class_names():
    assert TRAIN.metainfo["classes"] == tuple("0123456789")


def test_unknown_split():
    with pytest.raises(ValueError, match="'train' and 'val', not 'test'"):
        Digits("test")
