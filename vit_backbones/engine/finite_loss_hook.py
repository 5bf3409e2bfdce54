"""A run whose loss is no longer a number ends at once and leaves its good checkpoints alone."""

from __future__ import annotations

import math

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from ..checkpoint.reading import SHELLS
from ..errors import UserError
from ..registry import HOOKS
from .unwrapped import unwrapped


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops when the loss is NaN or infinite, and never lets such weights into a checkpoint.

    With several processes the loss is first averaged over them (mmengine logs that of the first
    process only), so logs and plots show the loss of the whole batch and all processes stop
    together. Infinite *gradients* under mixed precision are none of its business: the gradient
    scaler skips those steps.

    Raises:
        UserError: Names the iteration, the losses and the last good checkpoint.
    """

    priority = "HIGHEST"  # before anything logs, averages or saves

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        if not outputs or "loss" not in outputs:
            return
        loss = torch.as_tensor(outputs["loss"]).detach()
        if get_world_size() > 1:
            loss = outputs["loss"] = loss.clone()
            all_reduce(loss, "mean")
        if math.isfinite(loss.item()):
            return
        values = ", ".join(
            f"{name} = {value.item() if isinstance(value, Tensor) else value:.4g}"
            for name, value in outputs.items()
            if not isinstance(value, Tensor) or value.numel() == 1
        )
        raise UserError(
            f"the loss is no longer finite at iteration {runner.iter + 1} "
            f"(epoch {runner.epoch + 1}): {values}. {last_good_checkpoint(runner)} "
            "Usual remedies: a lower learning rate, a longer warm-up, clip_grad, no --amp"
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        model = unwrapped(runner.model)
        weights = checkpoint["state_dict"]
        for name in (SHELLS.sub("", name) for name, _ in model.named_parameters()):
            if name in weights and not torch.isfinite(weights[name]).all():
                raise UserError(
                    f"weights are no longer finite after iteration {runner.iter} (first: {name}); "
                    f"this checkpoint is not saved. {last_good_checkpoint(runner)}"
                )


def last_good_checkpoint(runner: Runner) -> str:
    path = runner.message_hub.runtime_info.get("last_ckpt")
    return f"Last good checkpoint: {path}." if path else "No checkpoint had been saved yet."
