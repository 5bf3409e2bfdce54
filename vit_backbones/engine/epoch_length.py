"""Resuming where an epoch has another number of iterations: on other processes, say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.runner import IterBasedTrainLoop, Runner

from .convergence_plot_hook import HISTORY

KEY = "epoch_length"  # in the message hub, which is part of each checkpoint
PROGRESS = ("last_step", "_global_step", "_last_value")  # of a scheduler; the rest are its settings


def fit_epoch_length(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Count the iterations in a checkpoint, its own, its history's and its schedules', by this
    run's epochs.

    mmengine converts schedules to iterations when it builds them, and puts the checkpoint's numbers
    in their place: warm-up and decay would be as long as in the former run.
    """
    old = checkpoint.get("message_hub", {}).get("runtime_info", {}).get(KEY)
    if old is None or isinstance(runner.train_loop, IterBasedTrainLoop):
        return
    new = len(runner.train_dataloader)
    if old == new:
        return
    meta = checkpoint["meta"]
    meta["iter"] = meta["iter"] * new // old
    for row in checkpoint["message_hub"]["runtime_info"].get(HISTORY, ()):
        row["iter"] = row["iter"] * new // old
    pairs = zip(
        _flat(runner.param_schedulers), _flat(checkpoint.get("param_schedulers")), strict=False
    )
    for own, saved in pairs:
        if own.by_epoch:
            continue
        done = {key: saved[key] for key in PROGRESS if key in saved}
        for key in ("last_step", "_global_step"):
            done[key] = done[key] * new // old
        saved.update(own.state_dict(), **done)
    runner.logger.info(
        f"An epoch has {new} iterations here and had {old} when {runner._load_from} was saved (by "
        "other processes, batches or data): its schedules go on from the same epoch."
    )


def _flat(schedulers: Any) -> Iterator[Any]:
    """Of one optimizer, or of several by name."""
    lists = schedulers.values() if isinstance(schedulers, dict) else [schedulers or ()]
    return (scheduler for several in lists for scheduler in several)
