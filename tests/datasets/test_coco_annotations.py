"""Annotation files that are broken: one message that names the file, the entry and the remedy."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path

import numpy as np
import pytest

import vit_backbones  # noqa: F401  (first: it makes mmdet importable)
from vit_backbones import UserError
from vit_backbones.datasets.coco_annotations import check_annotation_files, check_annotations

GOOD = dict(
    images=[dict(id=i, file_name=f"{i}.jpg", width=64, height=48) for i in (1, 2)],
    annotations=[
        dict(id=10 + i, image_id=i, category_id=1, bbox=[8.5, 4, 24, 24], area=576, iscrowd=0)
        for i in (1, 2)
    ],
    categories=[dict(id=1, name="cat"), dict(id=7, name="dog")],
)


def read(path: Path, classes: tuple[str, ...] = ("cat", "dog"), masks: bool = False):
    """mmdet's data set on the annotation file ``path``, the first of a run."""
    check_annotation_files(masks)
    return read_another(path, classes)


def read_another(path: Path, classes: tuple[str, ...] = ("cat", "dog")):
    from mmdet.datasets import CocoDataset

    return CocoDataset(
        pipeline=[], ann_file=str(path), metainfo=dict(classes=classes), data_prefix=dict(img="")
    )


def message(path: Path, content: object, **options) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError) as caught:
        read(path, **options)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def changed(**entry) -> dict:
    """GOOD, with its second annotation changed; None takes a key away."""
    content = copy.deepcopy(GOOD)
    annotation = content["annotations"][1]
    annotation.update(entry)
    for key in [key for key, value in entry.items() if value is None]:
        del annotation[key]
    return content


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "instances.json"


def test_a_good_file_is_read_as_before(file):
    file.write_text(json.dumps(GOOD))
    dataset = read(file)
    assert [len(dataset.get_data_info(i)["instances"]) for i in range(2)] == [1, 1]
    assert dataset.get_data_info(1)["instances"][0]["bbox"] == [8.5, 4, 32.5, 28]


@pytest.mark.parametrize(
    "entry, expected",
    [
        (dict(bbox=[8, 4, -24, 24]), "bbox [8, 4, -24, 24] has a negative width or height"),
        (dict(bbox=[float("nan"), 4, 24, 24]), "bbox [nan, 4, 24, 24] is not finite"),
        (dict(bbox=[64, 4, 24, 24]), "lies outside of its image of 64x48"),
        (dict(bbox=[-30, 4, 24, 24]), "lies outside of its image of 64x48"),
        (dict(bbox=[8, 4, 24]), "bbox [8, 4, 24] must be four numbers: x, y, width, height"),
        (dict(bbox=["8", 4, 24, 24]), "must be four numbers"),
        (dict(bbox=dict(x=8)), "must be four numbers"),
        (dict(bbox=None), "lacks bbox"),
        (dict(area=None), "lacks area"),
        (dict(category_id=5), "its category_id 5 is not among the categories"),
        (dict(image_id=3), "its image_id 3 is not among the images"),
    ],
)
def test_broken_annotations_are_named(file, entry, expected):
    text = message(file, changed(**entry))
    assert "1 of 2 annotations are broken" in text
    image = entry.get("image_id", 2)
    assert f"\n  annotation 12 of image {image}: " in text
    assert expected in text
    assert "take them out of it" in text


@pytest.mark.parametrize(
    "mask, expected",
    [
        ([[8, 4, 32, 4, float("nan"), 28]], "has a number that is not finite"),
        ([8, 4, 32, 4, 32, 28], "must be a list of polygons"),
        (dict(size=[10, 10], counts="a"), "of its image, [48, 64], as size, not [10, 10]"),
        (dict(size=[48, 64]), "must have counts"),
    ],
)
def test_broken_masks_are_named(file, mask, expected):
    text = message(file, changed(segmentation=mask))
    assert "\n  annotation 12 of image 2: its segmentation" in text
    assert expected in text


@pytest.mark.parametrize("mask", [None, []])
def test_masks_are_missed_where_they_are_wanted(file, mask):
    content = changed(segmentation=mask)
    content["annotations"][0]["segmentation"] = [[8, 4, 32, 4, 32, 28]]
    text = message(file, content, masks=True)
    assert "annotation 12 of image 2: it has no segmentation" in text
    assert "1 of 2 annotations" in text
    read(file)


def test_boxes_of_no_size_are_mmdets_to_leave_out(file):
    file.write_text(json.dumps(changed(bbox=[8, 4, 0, 24])))
    assert len(read(file).get_data_info(1)["instances"]) == 0


def test_boxes_by_their_corners_are_recognised(file):
    text = message(file, changed(bbox=[40, 20, 60, 40]))
    assert "1 of 2 boxes end far outside of their image" in text
    assert "are these (x1, y1, x2, y2)" in text


@pytest.mark.parametrize(
    "content, expected",
    [
        ("{", "can't be read as JSON"),
        ("<annotation/>", "can't be read as JSON"),
        ("[1]", "is no COCO annotation file: it holds a list"),
        (dict(a=1), "has no 'images', only a"),
        (dict(GOOD, images={}), "'images' is empty"),
        (
            dict(GOOD, categories=[dict(id=1, name="cat"), dict(id=7, name="cat")]),
            "2 categories are named 'cat'",
        ),
        (dict(GOOD, categories="cat"), "'categories' is a str"),
        (dict(GOOD, annotations={"1": 2}), "'annotations' is a dict"),
        (dict(GOOD, annotations=[[1]]), "annotation at place 0: is a list, not an object"),
        (dict(GOOD, images=[dict(id=1, width=3, height=3)]), "image 1: lacks file_name"),
        (dict(GOOD, images=GOOD["images"][:1] * 2), "image id 1 is there 2 times"),
        (
            dict(GOOD, images=[dict(i, width=0) for i in GOOD["images"]]),
            "image 1: its width and height 0, 48 must be positive",
        ),
    ],
)
def test_files_of_another_form(file, content, expected):
    assert expected in message(file, content)


def test_bytes_that_are_no_text(file):
    file.write_bytes(b"\x80\x02}q\x00")
    with pytest.raises(UserError, match="can't be read as JSON"):
        read(file)


def test_classes_that_the_file_lacks(file):
    text = message(file, GOOD, classes=("cat", "horse"))
    assert "lacks 1 of the data set's 2 classes: horse. It has 2: cat, dog" in text
    assert "metainfo=dict(classes=(...))" in text


def test_classes_in_another_order_are_warned_of(file, caplog):
    file.write_text(json.dumps(GOOD))
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        read(file, classes=("dog", "cat"))
        read(file, classes=("dog",))  # a subset is no mistake
    finally:
        logger.removeHandler(caplog.handler)
    (warning,) = [r.getMessage() for r in caplog.records if "another order" in r.getMessage()]
    assert "(cat, dog) than the data set (dog, cat)" in warning


def test_files_of_a_run_have_the_classes_in_one_order(file):
    """mmdet's labels go by it: a perfect detector would have an AP of 0 on the second file."""
    file.write_text(json.dumps(GOOD))
    turned = file.with_name("turned.json")
    turned.write_text(json.dumps(dict(GOOD, categories=GOOD["categories"][::-1])))
    read(file)
    read_another(file)
    read_another(turned, classes=("dog",))
    with pytest.raises(UserError, match=r"turned.json has the classes in another order \(dog"):
        read_another(turned)
    read(turned)


def test_images_without_an_object():
    check_annotations(dict(GOOD, annotations=[]), "unlabelled.json")


def test_panoptic_files(tmp_path):
    segment = dict(id=1, category_id=1, bbox=[0, 0, 4, 4], area=16, iscrowd=0)
    annotations = [dict(image_id=1, file_name="1.png", segments_info=[segment])]
    check_annotations(dict(GOOD, annotations=annotations), "panoptic.json")
    annotations.append(dict(image_id=9, file_name="2.png", segments_info=[]))
    with pytest.raises(UserError, match=r"annotation 2.png of image 9: its image_id 9 is not"):
        check_annotations(dict(GOOD, annotations=annotations), "panoptic.json")


def test_lists_of_test_images_have_no_annotations():
    check_annotations({k: v for k, v in GOOD.items() if k != "annotations"}, "test-dev.json")


def test_it_is_quick():
    """COCO's training set has 860,000 annotations; this has a tenth."""
    rng, count = np.random.default_rng(0), 86_000
    images = [dict(id=i, file_name=f"{i}.jpg", width=640, height=480) for i in range(12_000)]
    boxes = (rng.random((count, 4)) * (320, 240, 320, 240)).tolist()
    annotations = [
        dict(id=i, image_id=i % 12_000, category_id=1, bbox=box, area=1.0, segmentation=[])
        for i, box in enumerate(boxes)
    ]
    start = time.process_time()
    check_annotations(dict(GOOD, images=images, annotations=annotations), "train.json")
    assert time.process_time() - start < 2
