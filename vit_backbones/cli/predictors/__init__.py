"""Trained models of each library, from an image to a table and a picture.

A predictor is made from a config and a checkpoint. Called with an image's path and pixels, it
returns what the model says about it: an object with ``table()`` and ``figure()``.
"""

from __future__ import annotations

from typing import Any, Protocol

from mmengine.config import Config
from rich.table import Table

from ...errors import UserError
from ...swap import library_of


class Prediction(Protocol):
    def table(self) -> Table | str: ...  # what rich prints

    def figure(self) -> Any: ...  # matplotlib's


def load_predictor(
    cfg: Config,
    checkpoint: str,
    device: str | None = None,
    top: int | None = None,
    score_thr: float = 0.3,
):
    """The predictor for the library that ``cfg`` is written for, on ``device``.

    Args:
        top: Classes, objects or segments to show at most.
        score_thr: Objects below this score are left out.

    Raises:
        UserError: The config is for another library, or the checkpoint does not fit it.
    """
    scope = library_of(cfg)
    if scope == "mmpretrain":
        from .classifier import Classifier

        return Classifier(cfg, checkpoint, device, top or 5)
    if scope == "mmdet":
        from .detector import Detector

        return Detector(cfg, checkpoint, device, top, score_thr)
    if scope == "mmseg":
        from .segmenter import Segmenter

        return Segmenter(cfg, checkpoint, device, top)
    raise UserError(
        "predictions are shown for configs with default_scope='mmpretrain', 'mmdet' or 'mmseg'; "
        f"{cfg.filename} has {cfg.get('default_scope')!r}"
    )
