"""What a detector found in an image, as a picture: boxes, masks, names and scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .canvas import Color, Labels, canvas, outline, shade


def draw_detections(
    image: np.ndarray,
    boxes: np.ndarray,
    names: Sequence[str],
    scores: Sequence[float],
    colors: Sequence[Color],
    masks: np.ndarray | None = None,
) -> Figure:
    """The image with a box for each object, and its mask where there is one.

    Args:
        image: (H, W, 3) RGB, uint8.
        boxes: (N, 4) as x1, y1, x2, y2 in pixels, in descending order of score.
        names: Of the objects' classes.
        scores: 0 to 1.
        colors: Of the objects.
        masks: bool (N, H, W).
    """
    figure, (axes,) = canvas(image)
    height, width = image.shape[:2]
    # a box alone has a light edge, for dark images; around a mask a fine line will do
    lines = [("white", 2.8), (None, 1.6)] if masks is None else [(None, 1)]
    if masks is not None:
        shade(axes, image, masks[::-1], colors[::-1], alpha=0.35)
    for i in reversed(range(len(boxes))):  # the surest on top
        if masks is not None:
            outline(axes, masks[i], colors[i], width=1.6)
        x1, y1, x2, y2 = boxes[i]
        for color, line in lines:
            style = dict(edgecolor=color or colors[i], linewidth=line, fill=False)
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **style))
    labels = Labels(axes)
    for i in range(len(boxes)):
        x1, y1, x2, y2 = boxes[i]
        places = [
            (x1, y1, "bottom left"),
            (x1, y2, "top left"),
            (x2, y1, "bottom right"),
            (x2, y2, "top right"),
            (x1, y1, "top left"),
            (x2, y1, "top right"),
            (x1, y2, "bottom left"),
            (x2, y2, "bottom right"),
        ]
        labels.add(f"{names[i]} {scores[i]:.2f}", places, colors[i])
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure
