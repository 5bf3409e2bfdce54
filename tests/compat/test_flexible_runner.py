"""FlexibleRunner after the repairs: it resumes, and saves, as Runner does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import FlexibleRunner
from torch import nn

from tests.engine.toy import CURRENT, RUNS, assert_same_weights, toy_config, train, weights

STRATEGY = dict(type="SingleDeviceStrategy")


@pytest.fixture(autouse=True)
def fast_runs(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr("mmengine._strategy.base.collect_env", dict)
    monkeypatch.setattr(Config, "pretty_text", property(lambda cfg: str(cfg._cfg_dict)))


def flexible_runner(work_dir: Path, **changes: Any) -> FlexibleRunner:
    cfg = toy_config(work_dir, strategy=STRATEGY, env_cfg=dict(), **changes)
    RUNS[0] += 1
    cfg.experiment_name = f"flexible_{RUNS[0]}"
    runner = CURRENT["runner"] = FlexibleRunner.from_cfg(cfg)
    return runner


def run(work_dir: Path, kill: dict[str, int] | None = None, **changes: Any) -> FlexibleRunner:
    return train(flexible_runner(work_dir, **changes), **(kill or {}))


def test_resume_is_exact(tmp_path):
    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", dict(iter=15))
    resumed = run(tmp_path / "parts", resume=True)
    assert resumed.iter == whole.iter == 24
    assert_same_weights(weights(whole), weights(resumed))


def test_a_checkpoint_saved_after_a_validation_holds_its_own_epoch(tmp_path):
    scores = {"val_evaluator.scores": [50.0, 90.0, 70.0, 60.0]}
    run(tmp_path, **scores)
    for name, epoch in (("best_accuracy_top1_epoch_2.pth", 2), ("epoch_3.pth", 3)):
        meta = torch.load(tmp_path / name, weights_only=True)["meta"]
        assert (meta["epoch"], meta["iter"]) == (epoch, 6 * epoch)


def test_checkpoints_go_through_the_backend_that_was_asked_for(tmp_path, monkeypatch):
    written = []
    put = "vit_backbones.files.AtomicBackend.put"
    monkeypatch.setattr(put, lambda self, obj, filepath: written.append(Path(filepath).name))
    run(tmp_path, epochs=2, **{"val_evaluator.scores": [50.0, 40.0]})
    assert written == ["best_accuracy_top1_epoch_1.pth", "epoch_1.pth", "epoch_2.pth"]


class Order(Hook):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def before_run(self, runner: Any) -> None:
        self.seen.append("before_run")

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self.seen.append("after_load_checkpoint")

    def before_train(self, runner: Any) -> None:
        self.seen.append("before_train")


def test_hooks_run_once_and_before_the_checkpoint_is_loaded(tmp_path):
    run(tmp_path, epochs=1)
    (tmp_path / "last_checkpoint").write_text("/moved/away/epoch_1.pth")  # CheckpointHook knows
    runner, order = flexible_runner(tmp_path, epochs=2, resume=True), Order()
    runner.register_hook(order)
    train(runner)
    assert order.seen == ["before_run", "after_load_checkpoint", "before_train"]
    assert runner.iter == 12


def test_fsdp_is_handed_its_arguments_by_what_they_are(monkeypatch):
    from mmengine._strategy import fsdp

    model = nn.Linear(2, 2)
    optimizer, state = torch.optim.SGD(model.parameters()), dict(state={}, param_groups=[])
    monkeypatch.setattr(
        "vit_backbones.compat.fsdp.FullyShardedDataParallel.optim_state_dict_to_load",
        lambda model, optim, optim_state_dict: (model, optim, optim_state_dict),
    )
    expected = (model, optimizer, state)
    assert fsdp.FSDP.optim_state_dict_to_load(state, model, optimizer) == expected
    assert fsdp.FSDP.optim_state_dict_to_load(model, optimizer, state) == expected
