"""Early stopping that a resumed run takes up where it was."""

from __future__ import annotations

from mmengine.hooks import EarlyStoppingHook as _EarlyStoppingHook
from mmengine.runner import Runner

from ..registry import HOOKS


@HOOKS.register_module()
class EarlyStoppingHook(_EarlyStoppingHook):
    """mmengine's EarlyStoppingHook, which forgets its best score and its patience when a run is
    resumed.

    Here both are part of the checkpoint. Resuming a run that had stopped early ends at once; with a
    larger ``patience`` it goes on.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint["early_stopping"] = dict(
            best_score=float(self.best_score), wait_count=self.wait_count
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume and "early_stopping" in checkpoint:
            self.best_score = checkpoint["early_stopping"]["best_score"]
            self.wait_count = checkpoint["early_stopping"]["wait_count"]

    def before_train(self, runner: Runner) -> None:
        if self.wait_count >= self.patience:
            runner.train_loop.stop_training = True
            runner.logger.info(
                f"This run had already stopped: {self.monitor} did not improve in "
                f"{self.wait_count} validations (patience {self.patience}); "
                f"its best was {self.best_score:.4g}."
            )
