"""Gradient accumulation that a checkpoint may interrupt."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor

from ..registry import HOOKS


@HOOKS.register_module()
class AccumulationHook(Hook):
    """Keeps gradients that are accumulated but not yet applied in the checkpoint.

    mmengine drops them when an epoch's length is no multiple of ``accumulative_counts``, and the
    resumed run differs a little. With several processes each has gradients of its own and one file
    cannot hold them; there mmengine's warning stands.
    """

    def __init__(self) -> None:
        self._pending: dict[str, Tensor] = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        wrapper = runner.optim_wrapper
        wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        unapplied = not all(w.should_update() for w in wrappers)
        if unapplied and "optimizer" in checkpoint and runner.world_size == 1:
            checkpoint["gradients"] = {
                name: parameter.grad.cpu()
                for name, parameter in runner.model.named_parameters()
                if parameter.grad is not None
            }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume:
            self._pending = checkpoint.get("gradients", {})

    def before_train(self, runner: Runner) -> None:
        for name, parameter in runner.model.named_parameters():
            if name in self._pending:
                parameter.grad = self._pending[name].to(parameter)
        if self._pending:
            runner.logger.info(
                "Gradients accumulated before the resume are restored: none is lost."
            )
        self._pending = {}
