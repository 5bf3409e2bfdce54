"""COCO's annotation files, checked while mmdet reads them: what is broken is named, entry by entry.

mmdet drops or trains on most of what is wrong here without a word, or fails far from the cause.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any, ClassVar

import numpy as np

from ..errors import UserError, some
from .coco_classes import Orders, check_classes, check_order

KEYS = dict(images=("id", "file_name", "width", "height"), categories=("id", "name"))
BOX_KEYS = ("id", "image_id", "category_id", "bbox", "area")
PANOPTIC_KEYS = ("image_id", "file_name", "segments_info")
# Published files have some boxes that end a little outside of their image; if more than this share
# of all end further outside than this share of its size, the numbers mean something else.
MANY, FAR = 0.1, 0.1
SHOWN = 5


def check_annotation_files(masks: bool = False) -> None:
    """From now on, mmdet's COCO data sets (and classes derived from them) check their files.

    Args:
        masks: The pipeline loads masks, so every annotation must have one.

    The check works on the file as it is parsed, once, and in one process per machine.

    Raises (when a data set is built):
        UserError: Names the file, the entries, what is wrong with them and what to do.
    """
    from mmdet.datasets import CocoDataset, CocoPanopticDataset

    for dataset in (CocoDataset, CocoPanopticDataset):
        if not hasattr(dataset.COCOAPI, "checks_annotations"):
            dataset.COCOAPI = _checked(dataset.COCOAPI)
        dataset.COCOAPI.needs_masks = masks
        dataset.COCOAPI.orders = {}


def _checked(api: type) -> type:
    """mmdet's reader of annotation files, with the checks in it."""

    class CheckedAnnotations(api):
        checks_annotations = True
        needs_masks = False
        orders: ClassVar[Orders] = {}

        def __init__(self, annotation_file: str | None = None) -> None:
            self.file = str(annotation_file)
            try:
                super().__init__(annotation_file)
            except UserError:
                raise
            except AssertionError as error:  # pycocotools' for what isn't an object
                raise UserError(
                    f"{self.file} is no COCO annotation file: it holds a list or a single value, "
                    "not an object with 'images', 'annotations' and 'categories'"
                ) from error
            except ValueError as error:  # of the decoder, for JSON and for UTF-8
                raise UserError(
                    f"{self.file} can't be read as JSON ({error}). Is it complete, and COCO's "
                    "annotation format? Others (VOC, YOLO, ...) must be converted first"
                ) from error

        def createIndex(self) -> None:
            if os.environ.get("LOCAL_RANK", "0") == "0":
                check_annotations(self.dataset, self.file, self.needs_masks)
            super().createIndex()

        def get_cat_ids(
            self, cat_names: Sequence = (), sup_names: Sequence = (), cat_ids: Sequence = ()
        ) -> list[int]:
            if cat_names:
                names = [category["name"] for category in self.dataset["categories"]]
                check_classes(cat_names, names, self.file)
                check_order(cat_names, names, self.file, self.orders)
            return super().get_cat_ids(list(cat_names), list(sup_names), list(cat_ids))

    CheckedAnnotations.__name__ = api.__name__
    return CheckedAnnotations


def check_annotations(content: Mapping[str, Any], file: str, masks: bool = False) -> None:
    """Check a parsed annotation file, of instances (``masks``: each must have one) or panoptic.

    Raises:
        UserError: It lacks something, or entries are broken.
    """
    for key, needed in KEYS.items():
        _check_entries(content, key, needed, file)
    ids = Counter(image["id"] for image in content["images"])
    ((most, times),) = ids.most_common(1)
    if times > 1:
        raise UserError(f"{file}: image id {most!r} is there {times} times; each needs its own")
    names = Counter(category["name"] for category in content["categories"])
    ((most, times),) = names.most_common(1)
    if times > 1:
        raise UserError(f"{file}: {times} categories are named {most!r}; each needs its own name")
    if "annotations" not in content:  # lists of test images have none
        return
    annotations = content["annotations"]
    if annotations == []:  # images without an object
        return
    first = annotations[0] if isinstance(annotations, list) else None
    panoptic = isinstance(first, Mapping) and "segments_info" in first
    needed = PANOPTIC_KEYS if panoptic else BOX_KEYS
    _check_entries(content, "annotations", needed, file)
    _check_references(annotations, "image_id", ids.keys(), "images", file)
    if not panoptic:
        categories = {category["id"] for category in content["categories"]}
        _check_references(annotations, "category_id", categories, "categories", file)
        _check_boxes(content, file)
        _check_masks(content, file, masks)


def _check_entries(content: Mapping, key: str, needed: Sequence[str], file: str) -> None:
    """``content[key]`` must be a list of objects that have the ``needed`` keys."""
    if key not in content:
        raise UserError(
            f"{file} is no COCO annotation file: it has no '{key}', only {some(content, 6)}"
        )
    entries = content[key]
    if not isinstance(entries, list) or (not entries and key != "annotations"):
        what = "empty" if entries in ([], {}) else f"a {type(entries).__name__}"
        raise UserError(f"{file}: '{key}' is {what}, but must be a list of objects")
    wanted = set(needed)
    broken = [
        (entry, f"lacks {', '.join(k for k in needed if k not in entry)}")
        if isinstance(entry, dict)
        else ({"id": f"at place {i}"}, f"is a {type(entry).__name__}, not an object")
        for i, entry in enumerate(entries)
        if not (isinstance(entry, dict) and entry.keys() >= wanted)
    ]
    _refuse(broken, key, len(entries), file)


def _check_references(annotations: list[dict], key: str, known: Set, where: str, file: str) -> None:
    broken = [
        (a, f"its {key} {a[key]!r} is not among the {where}")
        for a in annotations
        if a[key] not in known
    ]
    _refuse(broken, "annotations", len(annotations), file)


def _check_boxes(content: Mapping, file: str) -> None:
    annotations = content["annotations"]
    boxes = _numbers([a["bbox"] for a in annotations])
    if boxes is None:
        broken = [
            (a, f"its bbox {a['bbox']!r} must be four numbers: x, y, width, height")
            for a in annotations
            if _numbers([a["bbox"]]) is None
        ]
        _refuse(broken, "annotations", len(annotations), file)
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    image = _numbers([sizes[a["image_id"]] for a in annotations], columns=2)
    if image is None or not (image > 0).all():
        broken = [
            (i, f"its width and height {i['width']!r}, {i['height']!r} must be positive numbers")
            for i in content["images"]
            if (size := _numbers([(i["width"], i["height"])], columns=2)) is None
            or not (size > 0).all()
        ]
        _refuse(broken, "images", len(content["images"]), file)
    corner, extent = boxes[:, :2], boxes[:, 2:]
    finite = np.isfinite(boxes).all(axis=1)
    negative = finite & (extent < 0).any(axis=1)
    # Boxes of no size are in COCO itself; mmdet leaves them out.
    outside = finite & ~negative & (extent > 0).all(axis=1)
    outside &= ((corner >= image) | (corner + extent <= 0)).any(axis=1)
    broken = []
    for i in np.flatnonzero(~finite | negative | outside):
        what = (
            "is not finite" if not finite[i]
            else "has a negative width or height" if negative[i]
            else f"lies outside of its image of {image[i, 0]:g}x{image[i, 1]:g}"
        )  # fmt: skip
        broken.append((annotations[i], f"its bbox {annotations[i]['bbox']} {what}"))
    _refuse(broken, "annotations", len(annotations), file)
    beyond = (corner + extent > (1 + FAR) * image).any(axis=1)
    if beyond.mean() > MANY:
        i = int(np.flatnonzero(beyond)[0])
        raise UserError(
            f"{file}: {int(beyond.sum())} of {len(boxes)} boxes end far outside of their image, "
            f"first that of {_name(annotations[i], 'annotations')}: {annotations[i]['bbox']} in "
            f"{image[i, 0]:g}x{image[i, 1]:g}. COCO's boxes are (x, y, width, height) in pixels; "
            "are these (x1, y1, x2, y2), or are the images' width and height swapped?"
        )


def _check_masks(content: Mapping, file: str, needed: bool) -> None:
    """Polygons of fewer than three points are mmdet's to leave out."""
    sizes = {image["id"]: [image["height"], image["width"]] for image in content["images"]}
    annotations = content["annotations"]
    faults = (
        (a, _mask_fault(a.get("segmentation"), sizes[a["image_id"]], needed)) for a in annotations
    )
    _refuse([(a, fault) for a, fault in faults if fault], "annotations", len(annotations), file)


def _mask_fault(mask: Any, size: list, needed: bool) -> str | None:
    if not mask:
        return "it has no segmentation, and the config's pipeline loads masks" if needed else None
    if isinstance(mask, Mapping):
        if "counts" not in mask or list(mask.get("size") or ()) != size:
            return (
                "its segmentation, an RLE, must have counts and the (height, width) of its image, "
                f"{size}, as size, not {mask.get('size')}"
            )
        return None
    try:
        finite = math.isfinite(sum(map(sum, mask)))  # fast; infinities and NaN stay what they are
    except TypeError:
        return "its segmentation must be a list of polygons (x, y, x, y, ...) or an RLE"
    return None if finite else "its segmentation has a number that is not finite"


def _numbers(rows: list, columns: int = 4) -> np.ndarray | None:
    """``rows`` as an array (n, columns), None unless all of them are so many numbers."""
    try:
        array = np.array(rows)
    except ValueError:  # of different lengths
        return None
    if array.ndim != 2 or array.shape[1] != columns or array.dtype.kind not in "if":
        return None
    return array.astype(float)


def _refuse(broken: list[tuple[dict, str]], key: str, total: int, file: str) -> None:
    """Raise a UserError that lists the ``broken`` entries, if there are any."""
    if not broken:
        return
    lines = (f"{_name(entry, key)}: {what}" for entry, what in broken)
    first = some(lines, SHOWN, separator="\n  ")
    raise UserError(
        f"{file}: {len(broken)} of {total} {key} are broken:\n  {first}\n"
        "Correct them in the file, or take them out of it."
    )


def _name(entry: Mapping, key: str) -> str:
    """'annotation 17 of image 3'."""
    noun = {"categories": "category"}.get(key, key.removesuffix("s"))
    of = f" of image {entry['image_id']}" if "image_id" in entry else ""
    return f"{noun} {entry.get('id', entry.get('file_name', '(no id)'))}{of}"
