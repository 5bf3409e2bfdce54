"""mmdet's models: the objects of an image, or its panoptic segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from rich.table import Table

from ...visualization.canvas import Color
from ...visualization.detections import draw_detections
from ...visualization.segmentations import draw_segments
from .model import TrainedModel, check_same_size


@dataclass
class Objects:
    """What was found, the surest first. Boxes (N, 4) as x1, y1, x2, y2 in pixels."""

    image: np.ndarray  # (H, W, 3), uint8, RGB
    boxes: np.ndarray
    names: Sequence[str]
    scores: np.ndarray
    colors: Sequence[Color]
    masks: np.ndarray | None  # bool (N, H, W)
    score_thr: float  # what an object needs to be shown
    left_out: int  # objects that this or `top` leaves out
    best_left_out: float

    def table(self) -> Table | str:
        if not self.names:
            found = f"; the best has {self.best_left_out:.2f}" if self.left_out else ""
            return f"No object with a score of {self.score_thr} or more{found}"
        table = Table()
        table.add_column("object")
        table.add_column("score", justify="right")
        table.add_column("x1, y1, x2, y2", justify="right")
        if self.masks is not None:
            table.add_column("mask, pixels", justify="right")
        for i, name in enumerate(self.names):
            row = [name, f"{self.scores[i]:.2f}", ", ".join(f"{x:.0f}" for x in self.boxes[i])]
            if self.masks is not None:
                row.append(f"{self.masks[i].sum():,}")
            table.add_row(*row)
        if self.left_out:
            table.caption = f"{self.left_out} more, with scores up to {self.best_left_out:.2f}"
        return table

    def figure(self) -> Figure:
        return draw_detections(
            self.image, self.boxes, self.names, self.scores, self.colors, self.masks
        )


@dataclass
class Segments:
    """A panoptic map taken apart, the largest segment first."""

    image: np.ndarray  # (H, W, 3), uint8, RGB
    masks: np.ndarray  # bool (N, H, W)
    names: Sequence[str]
    colors: Sequence[Color]
    left_out: int

    def table(self) -> Table:
        table = Table()
        table.add_column("segment")
        table.add_column("share", justify="right")
        for name, mask in zip(self.names, self.masks):
            table.add_row(name, f"{mask.mean():.1%}")
        if self.left_out:
            table.caption = f"{self.left_out} smaller"
        return table

    def figure(self) -> Figure:
        return draw_segments(self.image, self.masks, self.names, self.colors)


class Detector:
    """Boxes, with masks where the model makes them, or panoptic segments."""

    def __init__(
        self,
        cfg: Config,
        checkpoint: str,
        device: str | None = None,
        top: int | None = None,
        score_thr: float = 0.3,
    ) -> None:
        self.model = TrainedModel(cfg, checkpoint, device)
        self.top, self.score_thr = top, score_thr

    def __call__(self, path: Path, image: np.ndarray) -> Objects | Segments:
        sample = self.model(path, image)
        check_same_size(path, image, sample.metainfo.get("ori_shape", image.shape))
        if "pred_panoptic_seg" in sample:
            return self._segments(image, sample.pred_panoptic_seg.sem_seg[0].numpy())
        return self._objects(image, sample.pred_instances)

    def _objects(self, image: np.ndarray, instances) -> Objects:
        scores, order = instances.scores.sort(descending=True, stable=True)
        shown = order[scores >= self.score_thr][: self.top]
        left = scores[len(shown) :]
        labels = instances.labels[shown].tolist()
        colors = self.model.colors(max(labels, default=0))
        masks, boxes = None, instances.bboxes[shown].numpy()
        if "masks" in instances:
            masks = np.asarray(instances.masks)[shown.numpy()].astype(bool)
            if not boxes.any():  # SOLO's are all zero
                from mmdet.structures.mask import mask2bbox

                boxes = mask2bbox(torch.from_numpy(masks)).numpy()
        return Objects(
            image,
            boxes,
            [self.model.name(label) for label in labels],
            scores[: len(shown)].numpy(),
            [colors[label] for label in labels],
            masks,
            self.score_thr,
            len(left),
            float(left[0]) if len(left) else 0.0,
        )

    def _segments(self, image: np.ndarray, panoptic: np.ndarray) -> Segments:
        from mmdet.evaluation.functional import INSTANCE_OFFSET

        ids, areas = np.unique(panoptic, return_counts=True)
        known = ids % INSTANCE_OFFSET < len(self.model.classes)  # one above: no class
        order = np.argsort(-areas[known], kind="stable")
        shown = ids[known][order][: self.top]
        labels = [int(i) % INSTANCE_OFFSET for i in shown]
        colors = self.model.colors()
        return Segments(
            image,
            np.stack([panoptic == i for i in shown])
            if len(shown)
            else np.zeros((0, *panoptic.shape), bool),
            [self.model.name(label) for label in labels],
            [colors[label] for label in labels],
            int(known.sum()) - len(shown),
        )
