"""Early stopping that a resumed run takes up where it was."""

from __future__ import annotations

from mmengine.hooks import EarlyStoppingHook as _EarlyStoppingHook
from mmengine.runner import Runner

from ..registry import HOOKS


@HOOKS.register_module()
class EarlyStoppingHook(_EarlyStoppingHook):
    """mmengine's EarlyStoppingHook, which forgets its best score and its patience when a run is
    resumed.

    Here both are part of the checkpoint. Resuming a run that had stopped early, out of patience or
    at ``stopping_threshold``, ends at once; with more patience or a higher threshold it goes on.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        states = checkpoint.setdefault("early_stopping", {})
        states[self.monitor] = dict(best_score=float(self.best_score), wait_count=self.wait_count)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        state = checkpoint.get("early_stopping", {}).get(self.monitor)
        if runner._resume and state:
            self.best_score, self.wait_count = state["best_score"], state["wait_count"]

    def before_train(self, runner: Runner) -> None:
        threshold, is_better = self.stopping_threshold, self.rule_map[self.rule]
        if threshold is not None and is_better(self.best_score, threshold):
            reason = f"has passed {threshold}"
        elif self.wait_count >= self.patience:
            reason = f"did not improve in {self.wait_count} validations (patience {self.patience})"
        else:
            return
        runner.train_loop.stop_training = True
        runner.logger.info(
            f"This run had already stopped: {self.monitor} {reason}; its best was "
            f"{self.best_score:.4g}."
        )
