"""An augmentation that makes a classifier of digits of use on photographs."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from ..registry import TRANSFORMS
from .scenes import background, paint


def random_ground(height: int, width: int) -> np.ndarray:
    """One colour, or a part of a photograph: RGB, uint8 (height, width, 3)."""
    if not np.random.randint(2):
        return np.full((height, width, 3), np.random.randint(256, size=3), np.uint8)
    ground = background("train", 2 * height, 2 * width, np.random)
    ground = Image.fromarray(ground).resize((width, height), Image.Resampling.BOX)
    return np.array(ground)


def random_stroke(image: np.ndarray) -> np.ndarray:
    """The white of an image, uint8 (h, w, 3), more or less sharpened: uint8 (h, w)."""
    grey = image[..., 0].astype(np.int32)
    steepness = np.random.uniform(1, 4)  # of its edge: 8x8 pixels enlarged are a blur
    return np.clip(128 + (grey - 128) * steepness, 0, 255).astype(np.uint8)


@TRANSFORMS.register_module()
class RandomGround(BaseTransform):
    """Takes a white-on-black image as a stroke and paints it in a random colour, lighter or darker
    than what is below, on a plain ground or on a part of a photograph, as in digit scenes.

    An encoder that has only seen white on black tells nothing apart where the contrast is the other
    way round. The photographs' held-out parts stay unseen.

    Args:
        prob: The share of images that are painted; the others stay white on black.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def transform(self, results: dict) -> dict:
        if np.random.random() >= self.prob:
            return results
        ground = random_ground(*results["img"].shape[:2])
        results["img"] = paint(ground, random_stroke(results["img"]), np.random)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prob={self.prob})"
