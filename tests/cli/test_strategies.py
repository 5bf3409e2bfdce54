"""What --strategy makes of a config."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook

from tests.cli.test_training import config
from vit_backbones import UserError
from vit_backbones.cli import mistakes, processes, strategies


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.fixture
def deepspeed(monkeypatch):
    monkeypatch.setattr(strategies, "find_spec", lambda name: name)


def strategy(name: str, **options) -> Config:
    return config(strategy=name, launcher="pytorch", **options)


@pytest.mark.parametrize("name, kind", [("ddp", "DDP"), ("fsdp", "FSDP")])
def test_the_wrappers_choose_no_gpu_where_there_is_none(name, kind, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cfg = strategy(name)
    assert cfg.runner_type == "FlexibleRunner"
    assert cfg.strategy.type.endswith(f"{kind}Strategy")
    wrapper = cfg.strategy.model_wrapper
    assert wrapper.get("device_ids") is None
    assert wrapper.get("device_id") == dict(ddp=None, fsdp="cpu")[name]


def test_on_gpus_each_process_has_its_own(gpu):
    assert "device_ids" not in strategy("ddp").strategy.model_wrapper
    assert "device_id" not in strategy("fsdp").strategy.model_wrapper


def test_a_strategy_as_a_base_is_the_same(tmp_path):
    file = tmp_path / "base.py"
    bases = ["vit_digits.py", "_base_/strategies/fsdp.py"]
    folder = next(folder for folder in strategies.SHIPPED if folder.is_dir())
    file.write_text(f"_base_ = {[str(folder / base) for base in bases]}\n")
    cfg = config(config=str(file), launcher="pytorch")
    assert cfg.strategy == strategy("fsdp").strategy
    # and the command line's replaces it
    assert config(config=str(file), launcher="pytorch", strategy="ddp").strategy == (
        strategy("ddp").strategy
    )


def test_options_reach_the_strategy():
    cfg = strategy("fsdp", cfg_options={"strategy.state_dict_cfg": "sharded"})
    assert cfg.strategy.state_dict_cfg == "sharded"


def test_without_a_launcher_there_is_one_process():
    with pytest.raises(UserError, match=r"dist_train\.sh .*vit_digits\.py PROCESSES --strategy fs"):
        config(strategy="fsdp")


def test_unused_parameters_are_looked_for_under_ddp_too():
    cfg = strategy("ddp", cfg_options={"find_unused_parameters": True})
    assert cfg.strategy.model_wrapper.find_unused_parameters


def test_batch_norm_is_synchronized_under_ddp_too():
    assert strategy("ddp", cfg_options={"sync_bn": "torch"}).strategy.sync_bn == "torch"


@pytest.mark.parametrize("kind", ["EMAHook", "mmengine.EMAHook", EMAHook])
def test_a_moving_average_of_a_divided_model_is_refused(kind):
    options = {"custom_hooks": [dict(type=kind)]}
    with pytest.raises(UserError, match="EMAHook averages a whole model"):
        strategy("fsdp", cfg_options=options)
    strategy("ddp", cfg_options=options)


def test_deepspeed_is_missing(monkeypatch):
    monkeypatch.setattr(strategies, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install deepspeed"):
        strategy("deepspeed")


def test_deepspeed_clips_accumulates_and_rounds_by_itself(deepspeed, gpu):
    options = {
        "optim_wrapper.type": "AmpOptimWrapper",
        "optim_wrapper.dtype": "bfloat16",
        "optim_wrapper.accumulative_counts": 4,
    }
    cfg = strategy("deepspeed", cfg_options=options)
    assert set(cfg.optim_wrapper) == {"type", "optimizer", "paramwise_cfg"}
    assert cfg.optim_wrapper.type == "DeepSpeedOptimWrapper"
    assert cfg.strategy.gradient_clipping == 1.0
    assert cfg.strategy.gradient_accumulation_steps == 4
    assert cfg.strategy.bf16 == dict(enabled=True)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"auto_scale_lr": True}, "--auto-scale-lr"),
        ({"cfg_options": {"optim_wrapper.clip_grad.norm_type": 1}}, "norm of all gradients"),
        ({"cfg_options": {"optim_wrapper.type": "ApexOptimWrapper"}}, "ApexOptimWrapper"),
    ],
)
def test_what_deepspeed_can_not_do_is_said(options, reason, deepspeed, gpu):
    with pytest.raises(UserError, match=reason):
        strategy("deepspeed", **options)


def test_the_launcher_learns_why_a_process_failed(tmp_path, monkeypatch, capsys):
    file = tmp_path / "error.json"
    monkeypatch.setenv(processes.ERROR_FILE, str(file))
    monkeypatch.setenv("LOCAL_RANK", "1")

    def main() -> None:
        raise UserError("label map 7.png holds the label 30")

    with pytest.raises(SystemExit):
        mistakes.run(main)
    assert capsys.readouterr().err == ""  # once for all processes of a machine, by the first
    assert "label map 7.png" in json.loads(file.read_text())["message"]["message"]


@pytest.mark.parametrize("text", ["[pair.cc:534] Connection closed by peer [127.0.0.1]:39", "no"])
def test_a_process_that_lost_another_does_not_pass_for_the_cause(text, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    ended = []
    monkeypatch.setattr(processes.os, "_exit", lambda status: ended.append(status))
    monkeypatch.setattr(mistakes, "leave_reason", lambda error: ended.append("reason"))

    def main() -> None:
        raise RuntimeError(text)

    with pytest.raises(RuntimeError):
        mistakes.run(main)
    lost = "closed" in text
    assert ended == ([1, "reason"] if lost else ["reason"])  # _exit would not have returned
    assert ("Process 0 of this run has lost another one" in capsys.readouterr().err) == lost
