"""How the images of the published models were normalised."""

from __future__ import annotations

import fnmatch
from typing import NamedTuple


class Normalisation(NamedTuple):
    """Per-channel mean and deviation, red first, of pixels in 0 to 255."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Normalisation((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
HALF = Normalisation((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
CLIP = Normalisation(
    (122.7709383, 116.7460125, 104.09373615), (68.5005327, 66.6321579, 70.32316305)
)

# Patterns of presets, first match counts.
NORMALISATIONS: dict[str, Normalisation] = {
    "vit_*": HALF,  # vision_transformer's input pipeline scales to -1 to 1
    "clip_*": CLIP,  # CLIP's preprocess
    "deit*": IMAGENET,
    "mae_*": IMAGENET,
    "dino*": IMAGENET,  # DINO, DINOv2, DINOv3 (web images)
    "vitdet_*": IMAGENET,
    "swin*": IMAGENET,
    "mvit*": IMAGENET,  # version 1: SlowFast's configs/ImageNet/MVIT_B_16_CONV.yaml
}


def published_normalisation(preset: str) -> Normalisation:
    """Mean and deviation that the weights published for a preset expect."""
    return next(n for pattern, n in NORMALISATIONS.items() if fnmatch.fnmatch(preset, pattern))
