"""The course of a run as a picture: loss, learning rate and validation scores over epochs."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from ..files import write_atomically
from ..registry import HOOKS

HISTORY = "history"  # its name in mmengine's message hub, which checkpoints hold


def history(runner: Runner) -> list[dict[str, float]]:
    """One row per epoch (or per validation, in iteration-based loops), oldest first.

    Each has 'epoch', 'iter', 'loss' (mean since the last row), 'lr' and, where it was validated,
    the scalar metrics under their own names. Part of every checkpoint, so that a resumed run
    appends to it.
    """
    return runner.message_hub.runtime_info.get(HISTORY, [])


def watched_metrics(runner: Runner) -> dict[str, Callable[[float, float], bool]]:
    """The metrics that choose the best checkpoint, each with its ``is_better(a, b)``."""
    hook = next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)
    if hook is None or not hook.save_best:
        return {}
    return {name: hook.is_better_than[name] for name in hook.key_indicators if name != "auto"}


def best_row(
    rows: list[dict[str, float]], metric: str, is_better: Callable[[float, float], bool]
) -> dict[str, float] | None:
    """The first row with the best value of ``metric``, or None where it was never measured."""
    best = None
    for row in rows:
        if math.isfinite(row.get(metric, math.nan)) and (
            best is None or is_better(row[metric], best[metric])
        ):
            best = row
    return best


@HOOKS.register_module()
class ConvergencePlotHook(Hook):
    """Keeps the `history` of a run and draws it into ``<work_dir>/convergence.png`` after each
    validation.

    The metrics drawn are those that choose the best checkpoint, with the best point marked; without
    any, the first four of the evaluator.
    """

    priority = "LOW"  # after the metrics are in, before the checkpoint takes the history along
    filename = "convergence.png"

    def before_train(self, runner: Runner) -> None:
        self._iter_based = isinstance(runner.train_loop, IterBasedTrainLoop)

    def after_train_epoch(self, runner: Runner) -> None:
        self._row(runner)

    def after_train(self, runner: Runner) -> None:
        self._draw(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if not hasattr(self, "_iter_based"):  # a validation on its own, without training
            return
        row = self._row(runner)
        for name, value in (metrics or {}).items():
            if getattr(value, "size", 1) == 1 and not isinstance(value, str | list | dict):
                row[name] = float(value)
        self._draw(runner)

    def _row(self, runner: Runner) -> dict[str, float]:
        """The row of the current iteration, made if it does not exist."""
        rows, hub = history(runner), runner.message_hub
        last = rows[-1]["iter"] if rows else 0
        if rows and last == runner.iter:
            return rows[-1]
        scalars = hub.log_scalars
        # where groups have rates of their own, base_lr is the rate before any factor
        lr = scalars.get("train/base_lr") or scalars.get("train/lr")
        row = dict(iter=runner.iter, epoch=runner.iter / max(len(runner.train_dataloader), 1))
        if lr is not None:
            row["lr"] = float(lr.current())
        if "train/loss" in scalars and runner.iter > last:
            row["loss"] = float(scalars["train/loss"].mean(runner.iter - last))
        hub.update_info(HISTORY, [*rows, row])
        return row

    def _draw(self, runner: Runner) -> None:
        if is_main_process():
            path = Path(runner.work_dir, self.filename)
            x = "iter" if self._iter_based else "epoch"
            write_atomically(path, draw_history(history(runner), watched_metrics(runner), x))


def draw_history(
    rows: list[dict[str, float]],
    metrics: dict[str, Callable[[float, float], bool]],
    x: str = "epoch",
) -> bytes:
    """A PNG with three panels over ``x`` ('epoch' or 'iter'): loss, ``metrics``, learning rate."""
    from matplotlib.figure import Figure  # half a second to import: not before it is needed
    from matplotlib.ticker import MaxNLocator

    if not metrics:
        known = (
            name for row in rows for name in row if name not in ("iter", "epoch", "loss", "lr")
        )
        metrics = dict.fromkeys(list(dict.fromkeys(known))[:4])
    figure = Figure(figsize=(7, 7.5), dpi=110, layout="constrained")
    loss_axes, metric_axes, lr_axes = figure.subplots(
        3, 1, sharex=True, gridspec_kw=dict(height_ratios=[3, 3, 2])
    )
    _curve(loss_axes, rows, x, "loss", "tab:blue", "training loss (mean)")
    loss_axes.set_ylabel("loss")
    _curve(lr_axes, rows, x, "lr", "tab:green", "learning rate")
    lr_axes.set_ylabel("learning rate")
    lr_axes.set_ylim(bottom=0)
    lr_axes.ticklabel_format(axis="y", scilimits=(-2, 2))
    for number, (name, is_better) in enumerate(metrics.items()):
        color = f"C{number + 1}"
        _curve(metric_axes, rows, x, name, color, name)
        best = best_row(rows, name, is_better) if is_better else None
        if best is not None:
            label = f"best: {best[name]:.4g} at {x} {best[x]:.4g}"
            metric_axes.plot(
                best[x],
                best[name],
                "*",
                color=color,
                markersize=15,
                markeredgecolor="black",
                label=label,
            )
    metric_axes.set_ylabel(next(iter(metrics)) if len(metrics) == 1 else "validation")
    lr_axes.set_xlabel("iteration" if x == "iter" else "epoch")
    lr_axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (loss_axes, metric_axes, lr_axes):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(loc="best", fontsize="small")
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _curve(axes, rows: list[dict[str, float]], x: str, y: str, color: str, label: str) -> None:
    points = [(row[x], row[y]) for row in rows if y in row]
    if points:
        marker = "." if len(points) < 60 else ""
        axes.plot(*zip(*points, strict=True), color=color, marker=marker, label=label)
