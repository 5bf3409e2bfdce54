"""Data that does not fit the model ends a run at once, in words."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.dataset import BaseDataset
from PIL import Image
from torch import nn

import vit_backbones  # noqa: F401  (first: it makes mmseg importable)
from vit_backbones import UserError
from vit_backbones.engine.data_check_hook import (
    CheckedLabelMap,
    check_class_count,
    check_label_maps,
    empty_message,
)

NAMES = ("sky", "sea", "sand")


def model(**counts) -> nn.Module:
    """A model with heads for so many classes."""
    whole = nn.Module()
    for name, count in counts.items():
        head = nn.Identity()
        head.num_classes = count
        whole.add_module(name, head)
    return whole


def test_heads_must_have_as_many_classes_as_the_data():
    check_class_count(model(decode_head=3, auxiliary_head=3), dict(classes=NAMES), "train")
    with pytest.raises(UserError) as caught:
        check_class_count(model(decode_head=3, auxiliary_head=19), dict(classes=NAMES), "train")
    assert "auxiliary_head (Identity) is for 19 classes, but the train data set has 3" in str(
        caught.value
    )
    assert "num_classes of the heads" in str(caught.value)
    check_class_count(model(head=1000), dict(classes=NAMES), "train")  # outputs to spare
    with pytest.raises(UserError, match=r"head \(Identity\) is for 2 classes"):
        check_class_count(model(head=2), dict(classes=NAMES), "train")


def test_heads_that_know_no_classes_or_data_without_names_are_left_alone():
    check_class_count(model(rpn_head=1, bbox_head=3), dict(classes=NAMES), "val")
    check_class_count(model(bbox_head=80), {}, "val")
    check_class_count(model(bbox_head=256, language_model=0), dict(classes=NAMES), "val")


def test_panoptic_models_have_heads_for_things_and_for_stuff():
    info = dict(classes=NAMES, thing_classes=NAMES[:1], stuff_classes=NAMES[1:])
    check_class_count(model(roi_head=1, panoptic_head=3), info, "train")
    with pytest.raises(UserError, match="is for 80 classes"):
        check_class_count(model(roi_head=80), info, "train")


@pytest.fixture
def load(tmp_path):
    """Load a label map of these values beside an image of 6 x 4, as mmseg's data sets do."""
    from mmseg.datasets.transforms import LoadAnnotations

    def load(labels, reduce_zero_label=False):
        path = tmp_path / "map.png"
        if labels is not None:
            Image.fromarray(np.array(labels, np.uint8)).save(path)
        dataset = SimpleNamespace(
            pipeline=SimpleNamespace(transforms=[LoadAnnotations()]),
            metainfo=dict(classes=NAMES),
            ignore_index=255,
        )
        check_label_maps(dataset)
        (transform,) = dataset.pipeline.transforms
        assert isinstance(transform, CheckedLabelMap)
        return transform(
            dict(
                seg_map_path=str(path),
                reduce_zero_label=reduce_zero_label,
                label_map=None,
                seg_fields=[],
                ori_shape=(4, 6),
            )
        )["gt_seg_map"]

    return load


def test_good_label_maps_are_loaded_as_before(load):
    labels = np.array([[0, 1, 2, 255, 0, 1]] * 4)
    assert np.array_equal(load(labels), labels)
    assert load(np.full((4, 6), 3), reduce_zero_label=True).max() == 2


@pytest.mark.parametrize(
    "labels, reduced, expected",
    [
        (
            [[0, 1, 2, 3, 9, 255]] * 4,
            False,
            "holds the labels 3, 9, but the data set has 3 classes",
        ),
        ([[0, 1, 2, 3, 4, 255]] * 4, True, "holds the labels 3 (after reduce_zero_label took"),
        ([[0, 1, 2]] * 2, False, "has shape (2, 3) (height, width), its image (4, 6)"),
        (None, False, "can't be read"),
    ],
)
def test_label_maps_that_do_not_fit_are_named(load, tmp_path, labels, reduced, expected):
    with pytest.raises(UserError) as caught:
        load(labels, reduced)
    assert f"label map {tmp_path / 'map.png'} " in str(caught.value)
    assert expected in str(caught.value)


def test_other_loading_is_left_alone():
    transforms = [len]
    check_label_maps(SimpleNamespace(pipeline=SimpleNamespace(transforms=transforms)))
    assert transforms == [len]


def test_a_training_set_without_images(tmp_path):
    (tmp_path / "list.json").write_text(json.dumps(dict(metainfo={}, data_list=[])))
    dataset = BaseDataset(ann_file=str(tmp_path / "list.json"), serialize_data=False)
    assert f"no training image is left of BaseDataset ({tmp_path}/list.json)" in empty_message(
        dataset
    )
