"""mmpretrain's classifiers: the most probable classes of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mmengine.config import Config
from rich.table import Table

from ...datasets.channels import starts_from_rgb
from ...visualization.predictions import draw_prediction
from ..weights import load_weights
from .model import choose_device, preparing


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
        UserError: The checkpoint does not fit.
    """

    def __init__(
        self, cfg: Config, checkpoint: str, device: str | None = None, top: int = 5
    ) -> None:
        from mmpretrain import ImageClassificationInferencer, get_model

        chosen = choose_device(device)
        model = get_model(cfg, pretrained=False)
        meta = load_weights(model, checkpoint)
        self.inferencer = ImageClassificationInferencer(model, pretrained=False, device=chosen)
        # the checkpoint knows best; a config alone tells the names only through its data set
        self.classes = meta.get("dataset_meta", {}).get("classes") or self.inferencer.classes
        self.rgb = starts_from_rgb(
            cfg.test_dataloader.dataset.pipeline, getattr(model.data_preprocessor, "to_rgb", False)
        )
        self.top = top

    def __call__(self, path: Path, image: np.ndarray) -> Classes:
        """The file is only named: its pixels (H, W, 3), uint8, RGB, are what is classified."""
        pixels = image if self.rgb else np.ascontiguousarray(image[..., ::-1])
        with preparing(path, image):
            (batch,) = self.inferencer.preprocess([pixels])
        (sample,) = self.inferencer.forward(batch)
        probabilities, labels = sample.pred_score.topk(min(self.top, len(sample.pred_score)))
        names = [self.name(label) for label in labels.tolist()]
        return Classes(image, path.name, names, probabilities.tolist())

    def name(self, label: int) -> str:
        return str(self.classes[label]) if self.classes else f"class {label}"
