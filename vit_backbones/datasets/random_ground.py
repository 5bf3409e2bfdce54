"""An augmentation that makes a classifier of digits of use on photographs."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from ..registry import TRANSFORMS
from .scenes import background, paint


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
        grey = results["img"][..., 0].astype(np.int32)
        height, width = grey.shape
        if np.random.randint(2):
            below = background("train", 2 * height, 2 * width, np.random)
            below = Image.fromarray(below).resize((width, height), Image.Resampling.BOX)
            below = np.asarray(below)
        else:
            below = np.full((height, width, 3), np.random.randint(256, size=3), np.uint8)
        steepness = np.random.uniform(1, 4)  # of the stroke's edge: 8x8 pixels enlarged are a blur
        stroke = np.clip(128 + (grey - 128) * steepness, 0, 255).astype(np.uint8)
        results["img"] = paint(below, stroke, np.random)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prob={self.prob})"
