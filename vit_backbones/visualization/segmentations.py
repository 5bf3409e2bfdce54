"""What a segmenter makes of an image, as a picture: each pixel in the colour of its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .canvas import DPI, Color, Labels, canvas, enlargement, outline, shade

ALPHA = 0.55
ROW, LETTER, KEY = 22, 7.5, 50  # of the legend, pixels: a line, a letter, the colour before them


def draw_semantic_map(
    image: np.ndarray, labels: np.ndarray, names: Mapping[int, str], colors: Sequence[Color]
) -> Figure:
    """The image, beside it the map laid over it, and a legend.

    Args:
        image: (H, W, 3) RGB, uint8.
        labels: (H, W), class of each pixel; those not in ``names`` stay uncoloured.
        names: Class -> text in the legend, in the legend's order.
        colors: For each class.
    """
    margin = round(KEY + LETTER * max(map(len, names.values()), default=0))
    figure, (_, axes) = canvas(image, panels=2, margin=margin)
    masks = (labels == label for label in names)
    shade(axes, image, masks, [colors[label] for label in names], ALPHA)
    if enlargement(*labels.shape) > 1:  # else a line would cover what a ragged map shows
        for label in names:
            outline(axes, labels == label, "white", width=0.8)
    rows = max(1, int(figure.get_figheight() * DPI) // ROW - 1)
    shown = list(names)[:rows]
    handles = [Patch(color=colors[label], label=names[label]) for label in shown]
    if len(names) > rows:
        handles.append(Patch(alpha=0, label=f"and {len(names) - rows} more"))
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(axes.get_position().x1, 1),
        fontsize=9,
        frameon=False,
        borderaxespad=0.5,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a $ in a name is one
    axes.set(xlim=(0, image.shape[1]), ylim=(image.shape[0], 0))
    return figure


def draw_segments(
    image: np.ndarray, masks: np.ndarray, names: Sequence[str], colors: Sequence[Color]
) -> Figure:
    """The image, beside it the same with segments laid over it, each with its name in it.

    Args:
        image: (H, W, 3) RGB, uint8.
        masks: bool (N, H, W), largest first.
        names: Of the segments' classes.
        colors: Of the segments.
    """
    figure, (_, axes) = canvas(image, panels=2)
    shade(axes, image, masks, colors, ALPHA)
    for mask in masks:
        outline(axes, mask, "white", width=0.8)
    labels = Labels(axes)
    for mask, name, color in zip(masks[::-1], names[::-1], colors[::-1]):  # small ones choose first
        x, y = innermost(mask)
        shifts = (0, 0.06, -0.06)  # of the picture's height
        places = [(x, y + shift * image.shape[0], "center center") for shift in shifts]
        labels.add(name, places, color)
    axes.set(xlim=(0, image.shape[1]), ylim=(image.shape[0], 0))
    return figure


def innermost(mask: np.ndarray) -> tuple[float, float]:
    """x and y of the pixel that is farthest from the border of a mask, bool (H, W)."""
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = np.unravel_index(distance.argmax(), mask.shape)
    return column + 0.5, row + 0.5
