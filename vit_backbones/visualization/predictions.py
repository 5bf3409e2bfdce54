"""A classifier's prediction as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

BAR, BEST_BAR = "#b8c4d0", "#2a6fb0"


def draw_prediction(
    image: np.ndarray, names: Sequence[str], probabilities: Sequence[float], title: str = ""
) -> Figure:
    """The image beside a bar for each class, the most probable on top.

    Args:
        image: (H, W, 3) RGB, uint8.
        names: Of the classes, in descending order of probability.
        probabilities: 0 to 1.
    """
    figure = Figure(figsize=(8, 0.8 + 0.42 * max(len(names), 5)), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.2])
    left.imshow(image, interpolation="nearest" if max(image.shape) < 100 else "antialiased")
    left.set_title(title, fontsize=10, parse_math=False)
    left.axis("off")

    rows = range(len(names))
    bars = right.barh(rows, probabilities, color=[BEST_BAR] + [BAR] * (len(names) - 1))
    right.bar_label(bars, [f"{p:.1%}" for p in probabilities], padding=4, fontsize=9)
    right.set_yticks(rows, [shorten(name) for name in names], fontsize=9, parse_math=False)
    right.invert_yaxis()
    right.set_xlim(0, 1.15)  # room for the labels
    right.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"], fontsize=8)
    right.spines[["top", "right"]].set_visible(False)
    return figure


def shorten(name: str, limit: int = 28) -> str:
    return name if len(name) <= limit else name[: limit - 1].rstrip(" ,") + "…"


def unused_path(folder: Path, stem: str, suffix: str = ".png") -> Path:
    """``folder/stem.png``, or with a number behind it where that is taken."""
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}_{number}{suffix}"
    return path
