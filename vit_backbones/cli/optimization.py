"""The optimizer of a config: its precision, its learning rate, and what can't work."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS

from ..errors import UserError, nearest
from ..registry import type_name


def check_optimizer(cfg: Config) -> None:
    """mmengine builds None where it knows no optimizer of this name; say which there are."""
    kind = cfg.get("optim_wrapper", {}).get("optimizer", {}).get("type")
    with OPTIMIZERS.switch_scope_and_registry(cfg.get("default_scope")) as registry:
        if isinstance(kind, str) and registry.get(kind) is None:
            known = {*registry.module_dict, *OPTIMIZERS.module_dict}
            raise UserError(f"type='{kind}' in the config: no such optimizer{nearest(kind, known)}")


def check_schedules(cfg: Config) -> None:
    """A run that ends before its warm-up does."""
    epochs = (cfg.get("train_cfg") or {}).get("max_epochs")
    schedules = cfg.get("param_scheduler") or ()
    for schedule in schedules if isinstance(schedules, list | tuple) else [schedules]:
        by_epoch = isinstance(schedule, Mapping) and schedule.get("by_epoch", True)
        if not isinstance(epochs, int) or not by_epoch:
            continue
        begin, end = schedule.get("begin", 0), schedule.get("end", epochs)
        if begin >= end:
            raise UserError(
                f"param_scheduler in the config: {type_name(schedule)} begins after {begin} epochs "
                f"and ends after {end}, and the run has {epochs}. Train for longer (train_cfg."
                "max_epochs), or change begin and end (--cfg-options param_scheduler.0.end=1 "
                "param_scheduler.1.begin=1, say)"
            )


def set_amp(cfg: Config, amp: bool) -> None:
    """Mixed precision, where there is a GPU; a config that has it trains in float32 on a CPU."""
    on_gpu = torch.cuda.is_available()
    wrapper = cfg.get("optim_wrapper", {})
    if amp and not on_gpu:
        raise UserError("--amp needs a GPU, and torch sees none here; train without it")
    if amp:
        wrapper["type"] = "AmpOptimWrapper"
        wrapper.setdefault("loss_scale", "dynamic")
    elif type_name(wrapper) == "AmpOptimWrapper" and not on_gpu:
        print("No GPU here: training in float32 in place of the config's mixed precision.")
        wrapper["type"] = "OptimWrapper"
        for key in ("loss_scale", "dtype"):
            wrapper.pop(key, None)


def set_auto_scale_lr(cfg: Config, enable: bool) -> None:
    """Scale the learning rate by this run's batch size over that of the recipe."""
    if not enable:
        return
    if "base_batch_size" not in (cfg.get("auto_scale_lr") or {}):
        raise UserError(
            f"--auto-scale-lr: {cfg.filename} does not say for which batch size its learning rate "
            "is; add auto_scale_lr=dict(base_batch_size=...)"
        )
    cfg.auto_scale_lr.enable = True
    passes = cfg.optim_wrapper.get("accumulative_counts", 1)
    if passes > 1:  # mmengine compares the images of one pass, not those of a step
        cfg.auto_scale_lr.base_batch_size /= passes
