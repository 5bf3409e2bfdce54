"""A progress bar with the time left, where a person is watching."""

from __future__ import annotations

import atexit
import logging
import sys
import time

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..registry import HOOKS
from .convergence_plot_hook import best_row, history, watched_metrics

REFRESH_SECONDS = 0.1


@HOOKS.register_module()
class ProgressHook(Hook):
    """One bar over all iterations of the run, one for the validation or test that is going on.

    Only where stdout is a terminal; elsewhere mmengine's log lines stay as they are. In a terminal,
    log lines appear above the bar, and those that only repeat what the bar says are left to the log
    file.
    """

    priority = "LOWEST"  # after the history has the new score

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._drawn = 0.0

    # training

    def before_train(self, runner: Runner) -> None:
        if not self._start(runner):
            return
        self._iter_based = isinstance(runner.train_loop, IterBasedTrainLoop)
        self._training = self._bar.add_task(
            "train", total=runner.max_iters, completed=runner.iter, values=""
        )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        if not self._bar:
            return
        self._bar.update(
            self._training,
            completed=runner.iter + 1,
            description="train"
            if self._iter_based
            else f"epoch {runner.epoch + 1}/{runner.max_epochs}",
            values=self._values(runner),
        )
        self._draw()

    def after_train(self, runner: Runner) -> None:
        self._stop(runner)

    # validation and test

    def before_val_epoch(self, runner: Runner) -> None:
        self._begin(runner, "validation", len(runner.val_dataloader))

    def after_val_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        self._advance()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._end(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        self._begin(runner, "test", len(runner.test_dataloader))

    def after_test_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        self._advance()

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._end(runner)

    def _begin(self, runner: Runner, name: str, batches: int) -> None:
        self._own_bar = not self._bar  # no training around it
        if self._bar or self._start(runner):
            self._evaluation = self._bar.add_task(name, total=batches, values="")
            self._draw()

    def _advance(self) -> None:
        if self._bar:
            self._bar.advance(self._evaluation)
            self._draw()

    def _end(self, runner: Runner) -> None:
        if not self._bar:
            return
        if self._own_bar:
            self._stop(runner)
        else:
            self._bar.remove_task(self._evaluation)
            self._bar.update(self._training, values=self._values(runner))

    # the bar itself

    def _start(self, runner: Runner) -> bool:
        console = Console(file=sys.stdout)
        if not is_main_process() or not sys.stdout.isatty() or console.is_dumb_terminal:
            return False
        # Drawn by this thread alone: a thread that holds rich's lock while worker processes are
        # forked would leave them a lock that nobody releases.
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            auto_refresh=False,
            transient=True,  # so that the last line is the summary, or an error's message
            expand=True,
        )
        self._handlers = [
            handler
            for handler in runner.logger.handlers
            if type(handler) is logging.StreamHandler and handler.stream in (sys.stdout, sys.stderr)
        ]
        self._bar.start()  # from here on sys.stdout prints above the bar
        for handler in self._handlers:
            handler.setStream(sys.stdout)
            handler.addFilter(_is_news)
        atexit.register(self._bar.stop)  # an exception must not leave a terminal without a cursor
        return True

    def _stop(self, runner: Runner) -> None:
        if not self._bar:
            return
        self._bar.stop()
        atexit.unregister(self._bar.stop)
        for handler in self._handlers:
            handler.setStream(sys.stdout)
            handler.removeFilter(_is_news)
        self._bar = None

    def _draw(self) -> None:
        if time.monotonic() - self._drawn >= REFRESH_SECONDS:
            self._bar.refresh()
            self._drawn = time.monotonic()

    def _values(self, runner: Runner) -> str:
        scalars = runner.message_hub.log_scalars
        parts = []
        if "train/loss" in scalars:
            parts.append(f"loss {scalars['train/loss'].mean(20):.3g}")
        for name, is_better in watched_metrics(runner).items():
            best = best_row(history(runner), name, is_better)
            if best is not None:
                parts.append(f"best {name.split('/')[-1]} {best[name]:.4g}")
        return "  ".join(parts)


def _is_news(record: logging.LogRecord) -> bool:
    """False for the log lines whose content the bar shows."""
    if record.levelno > logging.INFO:
        return True
    per_iteration = record.module == "logger_hook" and record.funcName.endswith("_iter")
    return not per_iteration and record.module != "checkpoint_hook"
