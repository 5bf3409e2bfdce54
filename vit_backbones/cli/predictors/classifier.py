"""mmpretrain's classifiers: the most probable classes of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mmengine.config import Config
from rich.table import Table

from ...visualization.predictions import draw_prediction
from .model import TrainedModel


@dataclass
class Classes:
    """The most probable classes of an image, in descending order."""

    image: np.ndarray  # (H, W, 3), uint8, RGB
    title: str
    names: Sequence[str]
    probabilities: Sequence[float]

    def table(self) -> Table:
        table = Table()
        table.add_column("class")
        table.add_column("probability", justify="right")
        table.add_column("", width=20)
        for rank, (name, probability) in enumerate(zip(self.names, self.probabilities)):
            bar = "█" * round(20 * probability)
            table.add_row(name, f"{probability:.1%}", bar, style="bold" if rank == 0 else "")
        return table

    def figure(self) -> Figure:
        return draw_prediction(self.image, self.names, self.probabilities, self.title)


class Classifier:
    """A classifier with its weights and its test pipeline.

    Raises:
        UserError: The config describes no test data, or the checkpoint does not fit it.
    """

    def __init__(
        self, cfg: Config, checkpoint: str, device: str | None = None, top: int = 5
    ) -> None:
        self.model, self.top = TrainedModel(cfg, checkpoint, device), top

    def __call__(self, path: Path, image: np.ndarray) -> Classes:
        scores = self.model(path, image).pred_score
        probabilities, labels = scores.topk(min(self.top, len(scores)))
        names = [self.model.name(label) for label in labels.tolist()]
        return Classes(image, path.name, names, probabilities.tolist())
