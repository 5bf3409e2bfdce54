"""Digit scenes: photographs with handwritten digits on them, and where each digit is.

Everything is drawn from one seed per scene with numpy's ``RandomState``, whose stream is frozen,
and put together in integers, so that a scene is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from .digits import Digits

CLASSES = Digits.METAINFO["classes"]
PALETTE = [  # one colour per digit, for drawing
    (228, 26, 28),
    (55, 126, 184),
    (77, 175, 74),
    (152, 78, 163),
    (255, 127, 0),
    (255, 255, 51),
    (166, 86, 40),
    (247, 129, 191),
    (153, 153, 153),
    (0, 206, 209),
]
MAX_DIGITS = 6
SIDES = tuple(range(128, 257, 16))  # of a scene, pixels
SIDE_WEIGHTS = np.array([8, 7, 6, 5, 4, 3, 2, 1, 1]) / 37  # small scenes train fast
DIGIT_SIZE = (0.25, 0.45)  # side of a digit's square, as a share of the scene's shorter side
MAX_ROTATION = 10  # degrees
MIN_CONTRAST = 110  # between stroke and background, in levels of grey out of 255
MIN_VISIBLE = 0.85  # what later digits leave of an earlier one, as a share of its pixels
PLACES_TRIED = 20
PHOTO_SPLIT = 2 / 3  # of the width of each photograph: left of it trains, right of it is held out


@dataclass(frozen=True)
class Scene:
    """A picture and its digits, from the lowest to the topmost.

    Attributes:
        image: RGB, uint8 (H, W, 3).
        labels: The digits, int (N,), 0 to 9.
        masks: What can be seen of each, bool (N, H, W); no two overlap.
    """

    image: np.ndarray
    labels: np.ndarray
    masks: np.ndarray

    @property
    def boxes(self) -> np.ndarray:
        """int (N, 4): the masks' bounds as x, y, width, height, in pixels."""
        boxes = []
        for mask in self.masks:
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            x, y = columns[0], rows[0]
            boxes.append((x, y, columns[-1] + 1 - x, rows[-1] + 1 - y))
        return np.array(boxes)

    @property
    def semantic_map(self) -> np.ndarray:
        """uint8 (H, W): 0 for the background, 1 + digit where one is seen."""
        labels = np.zeros(self.image.shape[:2], np.uint8)
        for label, mask in zip(self.labels, self.masks, strict=True):
            labels[mask] = 1 + label
        return labels


def compose_scene(split: str, index: int, seed: int = 0) -> Scene:
    """Scene number ``index`` of ``split``, "train" or "val".

    The digits are those of :class:`Digits` in the same split; the backgrounds are parts of the left
    two thirds (train) or the right third (val) of scikit-learn's two photographs.
    """
    if split not in ("train", "val"):
        raise ValueError(f"digit scenes have the splits 'train' and 'val', not {split!r}")
    random = np.random.RandomState([seed, split == "val", index])
    width, height = random.choice(SIDES, 2, p=SIDE_WEIGHTS)
    image = background(split, height, width, random)
    number = random.randint(1, MAX_DIGITS + 1)
    digits = (draw_digit(split, min(height, width), random) for _ in range(number))
    labels, masks = paste(digits, image, random)
    return Scene(image, labels, masks)


def paste(
    digits: Iterable[tuple[int, np.ndarray]], image: np.ndarray, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Paint digits, their labels and strokes, on ``image``, one after the other, until one finds no
    place. Returns ``labels`` and ``masks`` as :class:`Scene` has them."""
    labels, masks, areas = [], [], []
    for label, stroke in digits:
        inside = stroke >= 128
        place = _find_place(inside, masks, areas, image.shape[:2], random)
        if place is None:  # the scene is full
            break
        for mask in masks:
            mask[place] &= ~inside
        masks.append(np.zeros(image.shape[:2], bool))
        masks[-1][place] = inside
        areas.append(inside.sum())
        labels.append(label)
        image[place] = paint(image[place], stroke, random)
    return np.array(labels), np.stack(masks)


def background(split: str, height: int, width: int, random: np.random.RandomState) -> np.ndarray:
    """A part of a photograph of any scale, mirrored half of the time, darkened up to a half."""
    photo = _photos(split)[random.randint(2)]
    rows, columns = photo.shape[:2]
    most = min(rows / height, columns / width)
    scale = random.uniform(0.25, 0.75) * min(most, 1.6)  # pixels of the photograph per pixel
    h, w = int(height * scale), int(width * scale)
    top, left = random.randint(rows - h + 1), random.randint(columns - w + 1)
    part = Image.fromarray(photo[top : top + h, left : left + w])
    part = np.asarray(part.resize((width, height), Image.Resampling.BICUBIC))
    if random.randint(2):
        part = part[:, ::-1]
    return (part.astype(np.int32) * random.randint(128, 257) // 256).astype(np.uint8)


def draw_digit(split: str, side: int, random: np.random.RandomState) -> tuple[int, np.ndarray]:
    """A digit for a scene whose shorter side has ``side`` pixels, and its stroke, uint8 (h, w), 255
    inside and 0 outside, cut to where it is."""
    images, labels = _digits(split)
    number = random.randint(len(labels))
    size = int(side * random.uniform(*DIGIT_SIZE))
    angle = random.uniform(-MAX_ROTATION, MAX_ROTATION)
    square = Image.fromarray(images[number]).resize((size, size), Image.Resampling.BICUBIC)
    square = square.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    grey = np.asarray(square).astype(np.int32)
    # 8x8 pixels enlarged are a blur: the stroke is where it is brighter than half, its edge steep
    stroke = np.clip(128 + (grey - 128) * 4, 0, 255).astype(np.uint8)
    inside = stroke >= 128
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return int(labels[number]), stroke[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _find_place(
    inside: np.ndarray,
    masks: list[np.ndarray],
    areas: list[int],
    size: tuple[int, int],
    random: np.random.RandomState,
) -> tuple[slice, slice] | None:
    """Rows and columns for a stroke, bool (h, w), that leave enough of each digit below to see.

    ``masks`` are what is left of these so far, ``areas`` how many pixels each had at first.
    """
    h, w = inside.shape
    if h > size[0] or w > size[1]:
        return None
    for _ in range(PLACES_TRIED):
        top, left = random.randint(size[0] - h + 1), random.randint(size[1] - w + 1)
        place = slice(top, top + h), slice(left, left + w)
        if all(
            mask.sum() - (mask[place] & inside).sum() >= MIN_VISIBLE * area
            for mask, area in zip(masks, areas, strict=True)
        ):
            return place
    return None


def paint(below: np.ndarray, stroke: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """A stroke, uint8 (h, w), in one colour, lighter or darker than the image ``below`` it, uint8
    (h, w, 3)."""
    inside = stroke >= 128
    ground = int(below[inside].mean()) if inside.any() else 0
    darker, lighter = ground - MIN_CONTRAST, 255 - MIN_CONTRAST - ground  # levels to choose from
    if darker > 0 and (lighter <= 0 or random.randint(2)):
        level = random.randint(0, darker + 1)
    else:
        level = random.randint(ground + MIN_CONTRAST, 256)
    colour = np.clip(level + random.randint(-25, 26, 3), 0, 255)
    alpha = stroke[..., None].astype(np.int32)
    return ((below * (255 - alpha) + colour * alpha + 127) // 255).astype(np.uint8)


@cache
def _digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 8, 8) and labels (N,) of one split."""
    data = Digits(split)
    samples = [data.get_data_info(i) for i in range(len(data))]
    return (
        np.stack([sample["img"][..., 0] for sample in samples]),
        np.array([sample["gt_label"] for sample in samples]),
    )


@cache
def _photos(split: str) -> list[np.ndarray]:
    """The parts of the photographs that belong to a split, RGB uint8 (H, W, 3)."""
    from sklearn.datasets import load_sample_image  # a second to import: not before it is needed

    parts = []
    for name in ("china.jpg", "flower.jpg"):
        photo = load_sample_image(name)
        border = int(photo.shape[1] * PHOTO_SPLIT)
        parts.append(photo[:, :border] if split == "train" else photo[:, border:])
    return parts
