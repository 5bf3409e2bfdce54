"""A loss that is not a number ends the run; good checkpoints stay good."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.checkpoint import _load_checkpoint

from tests.engine.toy import run, toy_config, toy_runner
from vit_backbones import UserError

ITERATIONS_PER_EPOCH = 6


def test_names_iteration_losses_and_last_good_checkpoint(tmp_path):
    at = 2 * ITERATIONS_PER_EPOCH + 3
    runner = toy_runner(toy_config(tmp_path, **{"model.nan_at": at}))
    with pytest.raises(UserError) as error:
        runner.train()
    message = str(error.value)
    assert f"iteration {at} (epoch 3)" in message
    assert "loss = nan" in message
    assert f"Last good checkpoint: {tmp_path / 'epoch_2.pth'}" in message
    assert sorted(p.name for p in tmp_path.glob("epoch_*")) == ["epoch_1.pth", "epoch_2.pth"]


def test_says_when_nothing_had_been_saved(tmp_path):
    runner = toy_runner(toy_config(tmp_path, **{"model.nan_at": 1}))
    with pytest.raises(UserError, match="No checkpoint had been saved yet"):
        runner.train()


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    """The loss of a step is computed before its update: the last one of an epoch may ruin the
    weights and still look good."""
    runner = toy_runner(toy_config(tmp_path, epochs=3))
    step, steps = runner.model.train_step, []

    def ruin(*args, **kwargs):
        losses = step(*args, **kwargs)
        steps.append(losses)
        if len(steps) == 2 * ITERATIONS_PER_EPOCH:
            with torch.no_grad():
                runner.model.head.weight[0, 0] = float("inf")
        return losses

    runner.model.train_step = ruin
    with pytest.raises(UserError, match=r"head.weight.*not saved.*epoch_1\.pth"):
        runner.train()
    (last,) = tmp_path.glob("epoch_*.pth")
    assert Path((tmp_path / "last_checkpoint").read_text()) == last
    for name, weight in _load_checkpoint(str(last))["state_dict"].items():
        assert torch.isfinite(weight).all(), name


def test_infinite_gradients_of_mixed_precision_are_no_error(tmp_path):
    """The gradient scaler sees them, skips the step and lowers its scale: its ordinary life."""
    runner = toy_runner(toy_config(tmp_path, epochs=2))
    runner.optim_wrapper = ScaledWrapper(torch.optim.SGD(runner.model.parameters(), lr=0.1))
    runner.train()
    assert runner.epoch == 2
    assert runner.optim_wrapper.overflows > 0


class ScaledWrapper(OptimWrapper):
    """What mmengine's AmpOptimWrapper does on a GPU, with a scale that overflows at first."""

    overflows = 0

    def __init__(self, optimizer):
        super().__init__(optimizer)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=3e38, backoff_factor=0.01)

    def backward(self, loss, **kwargs):
        self.scaler.scale(loss * 1e3).backward()
        self._inner_count += 1

    def step(self, **kwargs):
        grads = [p.grad for group in self.optimizer.param_groups for p in group["params"]]
        self.overflows += not all(torch.isfinite(grad).all() for grad in grads)
        self.scaler.step(self.optimizer)
        self.scaler.update()


def test_a_finite_run_is_left_alone(tmp_path):
    assert run(toy_config(tmp_path, epochs=2)).epoch == 2
