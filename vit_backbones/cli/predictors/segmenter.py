"""mmseg's models: the class of each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mmengine.config import Config
from rich.table import Table

from ...visualization.canvas import Color
from ...visualization.predictions import shorten
from ...visualization.segmentations import draw_semantic_map
from .model import TrainedModel, check_same_size


@dataclass
class SemanticMap:
    image: np.ndarray  # (H, W, 3), uint8, RGB
    labels: np.ndarray  # (H, W), class of each pixel
    names: dict[int, str]  # of the classes to show, the largest first
    colors: Sequence[Color]
    left_out: int

    def share(self, label: int) -> float:
        return float((self.labels == label).mean())

    def table(self) -> Table:
        table = Table()
        table.add_column("class")
        table.add_column("share", justify="right")
        for label, name in self.names.items():
            table.add_row(name, f"{self.share(label):.1%}")
        if self.left_out:
            table.caption = f"{self.left_out} smaller"
        return table

    def figure(self) -> Figure:
        legend = {
            i: f"{shorten(name)}  {self.share(i):.1%}"
            for i, name in self.names.items()
            if name != "background"  # stays as it is in the image
        }
        return draw_semantic_map(self.image, self.labels, legend, self.colors)


class Segmenter:
    """The class of each pixel, and how much of the image each class takes."""

    def __init__(
        self, cfg: Config, checkpoint: str, device: str | None = None, top: int | None = None
    ) -> None:
        self.model, self.top = TrainedModel(cfg, checkpoint, device), top

    def __call__(self, path: Path, image: np.ndarray) -> SemanticMap:
        labels = self.model(path, image).pred_sem_seg.data[0].numpy()
        check_same_size(path, image, labels.shape)
        found, areas = np.unique(labels, return_counts=True)
        shown = found[np.argsort(-areas, kind="stable")][: self.top].tolist()
        return SemanticMap(
            image,
            labels,
            {label: self.model.name(label) for label in shown},
            self.model.colors(max(shown)),
            len(found) - len(shown),
        )
