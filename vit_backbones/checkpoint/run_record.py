"""What is known of the run that wrote a checkpoint: its data, its scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..registry import type_name

# columns of a log that are no scores
NO_SCORES = ("iter", "epoch", "step", "lr", "base_lr", "loss", "time", "data_time", "memory")


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run.

    Attributes:
        epoch, iteration: When the checkpoint was written; None where it doesn't say.
        scores: Of the validation at that moment.
        scores_from: Where they were found.
        trained_on, tested_on: Data sets, as 'Digits (train)'; '' where the config names none.
        classes: Names of the classes, () where none are known.
        averaged: The weights are an average over the training (EMA).
    """

    epoch: int | None = None
    iteration: int | None = None
    scores: dict[str, float] = field(default_factory=dict)
    scores_from: str = ""
    trained_on: str = ""
    tested_on: str = ""
    classes: tuple[str, ...] = ()
    averaged: bool = False


def read_record(checkpoint: Mapping[str, Any], path: Path, cfg: Mapping[str, Any]) -> RunRecord:
    """What a checkpoint, the logs beside it and its config tell."""
    meta = checkpoint.get("meta") or {}
    meta = meta if isinstance(meta, Mapping) else {}
    epoch, iteration = meta.get("epoch"), meta.get("iter")
    scores, origin = _scores_in_checkpoint(checkpoint, iteration), "the checkpoint's history"
    if not scores:
        by_epoch = cfg.get("train_cfg", {}).get("by_epoch", True)
        scores, origin = _scores_in_logs(path, epoch if by_epoch else iteration)
    classes = (meta.get("dataset_meta") or {}).get("classes") or ()
    return RunRecord(
        epoch=epoch,
        iteration=iteration,
        scores=scores,
        scores_from=origin if scores else "",
        trained_on=data_set_of(cfg.get("train_dataloader")),
        tested_on=data_set_of(cfg.get("val_dataloader") or cfg.get("test_dataloader")),
        classes=tuple(map(str, classes)),
        averaged=any(name in checkpoint for name in ("ema_state_dict", "model_ema")),
    )


def data_set_of(loader: Mapping[str, Any] | None) -> str:
    """'Digits (train)', 'CocoDataset (annotations/instances_train2017.json)', or ''."""
    dataset = (loader or {}).get("dataset") or {}
    while "dataset" in dataset:  # wrappers, such as RepeatDataset
        dataset = dataset["dataset"]
    kind = type_name(dataset)
    part = dataset.get("split") or dataset.get("ann_file") or ""
    folder = Path(part) if part else None
    if folder is not None and folder.is_absolute():  # where on somebody's disk is nobody's business
        part = folder.name
    return f"{kind} ({part})" if kind and part else kind


def _scores_in_checkpoint(checkpoint: Mapping[str, Any], iteration: int | None) -> dict[str, float]:
    """The row of this package's history hook that has this iteration."""
    hub = checkpoint.get("message_hub")
    info = hub.get("runtime_info") if isinstance(hub, Mapping) else None
    rows = info.get("history", ()) if isinstance(info, Mapping) else ()
    found = [row for row in rows if row.get("iter") == iteration]
    return _only_scores(found[-1]) if found else {}


def _scores_in_logs(path: Path, step: int | None) -> tuple[dict[str, float], str]:
    """Of mmengine's scalars.json files beside the checkpoint, the newest that has this step."""
    logs = sorted(path.parent.glob("*/vis_data/scalars.json"), key=lambda p: p.stat().st_mtime)
    for log in reversed(logs):
        rows = [row for row in _rows(log) if row.get("step") == step and "loss" not in row]
        if rows and (scores := _only_scores(rows[-1])):
            return scores, f"the run's log ({log.parent.parent.name})"
    return {}, ""


def _rows(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # the last line of a run that was killed
            continue
        if isinstance(row, dict):
            yield row


def _only_scores(row: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in row.items()
        if name not in NO_SCORES and isinstance(value, int | float) and "loss" not in name
    }
