"""A picture to draw on in an image's own pixel coordinates, enlarged where the image is small."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

DPI = 100
LONG_SIDE = 640  # pixels of a picture's longer side at least, so that labels are readable
PAD = 2  # pixels of ground around the text of a label
Color = tuple[float, float, float]  # RGB, each 0 to 1
GREY: Color = (0.45, 0.45, 0.45)


def enlargement(height: int, width: int) -> int:
    """How many pixels of the picture, along each side, one pixel of the image becomes."""
    return max(1, ceil(LONG_SIDE / max(height, width)))


def canvas(image: np.ndarray, panels: int = 1, margin: int = 0) -> tuple[Figure, list[Axes]]:
    """A figure with the image ``panels`` times side by side, each the axes of its pixels.

    A pixel covers the unit square right of and below its index, as boxes count: (0, 0, W, H) is the
    box of the whole image.

    Args:
        image: (H, W, 3) RGB, uint8.
        margin: Room to the right of the last panel, in pixels of the picture.
    """
    height, width = image.shape[:2]
    factor = enlargement(height, width)
    gap = 8 if panels > 1 else 0
    total = panels * factor * width + (panels - 1) * gap + margin
    figure = Figure(figsize=(total / DPI, factor * height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    all_axes = []
    for panel in range(panels):
        left = panel * (factor * width + gap)
        axes = figure.add_axes((left / total, 0, factor * width / total, 1))
        axes.axis("off")
        axes.imshow(image, extent=(0, width, height, 0), interpolation="nearest")
        all_axes.append(axes)
    return figure, all_axes


def class_colors(
    classes: Sequence[str], palette: Sequence[Sequence[int]] | None = None
) -> list[Color]:
    """A colour for each class: the data set's own (RGB, 0 to 255), or ones far from each other."""
    if palette is not None and not isinstance(palette, str) and len(palette) >= len(classes):
        return [tuple(channel / 255 for channel in color) for color in palette[: len(classes)]]
    return [GREY if name == "background" else _color(i) for i, name in enumerate(classes)]


def _color(index: int) -> Color:
    golden = 0.618034  # of the circle of hues: each next one falls into the widest gap
    return colorsys.hls_to_rgb(index * golden % 1, (0.5, 0.36, 0.64)[index % 3], 0.8)


def readable_on(color: Color) -> str:
    """Black or white, whichever stands out from ``color`` (its luminance by ITU-R BT.601)."""
    return "black" if np.dot(color, (0.299, 0.587, 0.114)) > 0.55 else "white"


def outline(axes: Axes, mask: np.ndarray, color: Color | str, width: float) -> None:
    """The border of a mask, bool (H, W)."""
    if mask.any() and not mask.all():
        # its part of the image alone, which matplotlib keeps in float64
        (top, bottom), (left, right) = (np.flatnonzero(mask.any(axis))[[0, -1]] for axis in (1, 0))
        part = mask[top : bottom + 1, left : right + 1]
        # zeros around, so that the border is closed where the mask touches the edge
        levels = np.pad(part, 1).astype(float)
        ys, xs = (n - 0.5 + np.arange(size + 2) for n, size in zip((top, left), part.shape))
        axes.contour(xs, ys, levels, levels=[0.5], colors=[color], linewidths=width)


def shade(
    axes: Axes,
    image: np.ndarray,
    masks: Iterable[np.ndarray],
    colors: Iterable[Color],
    alpha: float,
) -> None:
    """Show an image (H, W, 3), uint8, with the pixels of masks, bool (H, W), coloured, one mask
    after the other."""
    height, width = image.shape[:2]
    shaded = image.astype(np.float32)
    for mask, color in zip(masks, colors):
        shaded[mask] += alpha * (255 * np.asarray(color, np.float32) - shaded[mask])
    shaded = shaded.round().astype(np.uint8)  # one layer: a float64 one per mask takes gigabytes
    axes.imshow(shaded, extent=(0, width, height, 0), interpolation="nearest")


class Labels:
    """Texts on coloured ground, moved where they would leave the picture or cover each other."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.taken: list[np.ndarray] = []  # x0, y0, x1, y1 in pixels of the picture

    def add(self, text: str, places: Sequence[tuple[float, float, str]], color: Color) -> None:
        """Write where it covers least: each place is x, y of a corner, and which corner."""
        label = self.axes.annotate(
            text,
            places[0][:2],
            xytext=(0, 0),
            textcoords="offset pixels",
            fontsize=9,
            fontweight="bold",
            parse_math=False,  # a $ in a name is one
            color=readable_on(color),
            bbox=dict(facecolor=color, edgecolor="none", pad=PAD * 72 / DPI),
        )
        picture = np.array(self.axes.bbox.extents)
        least = np.inf
        for place in places:
            self._move(label, *place)
            extent = label.get_window_extent().padded(PAD).extents
            cut_off = _area(extent) - _shared(extent, picture)
            covered = 4 * cut_off + sum(_shared(extent, other) for other in self.taken)
            if covered < least:
                least, best, taken = covered, place, extent
        self._move(label, *best)
        self.taken.append(taken)

    @staticmethod
    def _move(label: Annotation, x: float, y: float, corner: str) -> None:
        vertical, horizontal = corner.split()
        right = {"left": PAD, "center": 0, "right": -PAD}[horizontal]
        up = {"bottom": PAD, "center": 0, "top": -PAD}[vertical]
        label.xy = (x, y)
        label.set(position=(right, up), va=vertical, ha=horizontal)


def _area(box: np.ndarray) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _shared(a: np.ndarray, b: np.ndarray) -> float:
    return _area(np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])]))
