"""An augmentation that makes a classifier of digits of use where there are several in an image."""

from __future__ import annotations

from itertools import chain

import numpy as np
from mmcv.transforms import BaseTransform

from ..errors import UserError
from ..registry import TRANSFORMS
from .random_ground import random_ground, random_stroke
from .scenes import draw_digit, paste


@TRANSFORMS.register_module()
class ManyDigits(BaseTransform):
    """Puts a white-on-black digit anywhere on a larger ground and others beside it.

    A classifier of one digit per image may gather what it sees from everywhere, and has no use for
    knowing where it is. Asked for the share of each class among several digits, it keeps what
    belongs to one apart from the next, which is what a detector wants.

    Adds ``gt_score``, float32 (10,): the share of each class; ``gt_label`` stays the first digit's.
    The others are training digits, drawn as in digit scenes.

    Args:
        size: Side of the square ground, in pixels.
        others: At most so many digits beside the first.
        scene_side: The others are as large as in a scene of this side, in pixels; one that is
            larger than the ground is left out, and those after it.

    Raises:
        UserError: An image is larger than the ground.
    """

    def __init__(self, size: int, others: int, scene_side: int) -> None:
        self.size, self.others, self.scene_side = size, others, scene_side

    def transform(self, results: dict) -> dict:
        height, width = results["img"].shape[:2]
        if max(height, width) > self.size:
            raise UserError(
                f"ManyDigits: an image of {width} x {height} pixels is larger than the ground of "
                f"{self.size} x {self.size}; raise size, or make the image smaller with Resize"
            )
        number = np.random.randint(self.others + 1)
        first = results["gt_label"], random_stroke(results["img"])
        others = (draw_digit("train", self.scene_side, np.random) for _ in range(number))
        image = random_ground(self.size, self.size)
        labels, _ = paste(chain([first], others), image, np.random)
        shares = np.bincount(labels, minlength=10) / len(labels)
        return {**results, "img": image, "gt_score": shares.astype(np.float32)}

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, others={self.others}, "
            f"scene_side={self.scene_side})"
        )
