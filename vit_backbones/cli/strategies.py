"""Many devices: mmengine's strategies, put into a config and fitted to what it trains."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from mmengine.config import Config

from ..errors import UserError
from ..registry import type_name
from .config import SHIPPED

STRATEGIES = ("ddp", "fsdp", "deepspeed")  # configs/_base_/strategies/NAME.py


def set_strategy(cfg: Config, name: str | None) -> None:
    """``--strategy NAME``: as if the config had _base_/strategies/NAME.py among its bases."""
    if name is None:
        return
    folder = next(folder for folder in SHIPPED if folder.is_dir())
    base = Config.fromfile(folder / "_base_" / "strategies" / f"{name}.py")
    cfg.strategy = {}  # of another kind, perhaps
    cfg.merge_from_dict(base._cfg_dict.to_dict())


def fit_strategy(cfg: Config) -> None:
    """Fit a config's strategy and the rest of it to each other: FlexibleRunner reads less of a
    config than Runner does.

    Raises:
        UserError: A strategy needs what is not there: several processes, a package, a GPU.
    """
    strategy = cfg.get("strategy")
    if not strategy:
        return
    cfg.runner_type = "FlexibleRunner"
    cfg.setdefault("env_cfg", {})
    kind = type_name(strategy)
    if cfg.get("launcher", "none") == "none" and kind != "SingleDeviceStrategy":
        raise UserError(
            f"{kind} runs under a launcher, also with a single process: "
            f"tools/dist_train.sh {cfg.filename} PROCESSES --strategy {_name(kind)}"
        )
    if kind == "DDPStrategy" and cfg.get("sync_bn"):
        strategy.setdefault("sync_bn", cfg.sync_bn)
    if kind == "DDPStrategy" and cfg.get("find_unused_parameters"):
        wrapper = strategy.setdefault("model_wrapper", {"type": "MMDistributedDataParallel"})
        wrapper.setdefault("find_unused_parameters", True)
    if kind in ("FSDPStrategy", "DeepSpeedStrategy"):
        hooks = [*(cfg.get("custom_hooks") or ()), *(cfg.get("default_hooks") or {}).values()]
        for hook in filter(None, hooks):
            if type_name(hook) in ("EMAHook", "MeanTeacherHook"):
                raise UserError(
                    f"{type_name(hook)} averages a whole model, which {kind} divides among the "
                    "processes. Leave it out (--cfg-options custom_hooks=[], if it is the only "
                    "one), or take --strategy ddp"
                )
    if kind == "DeepSpeedStrategy":
        fit_deepspeed(cfg)
    if not torch.cuda.is_available():
        use_cpu(strategy, kind)


def fit_deepspeed(cfg: Config) -> None:
    """DeepSpeed clips, accumulates and lowers the precision by settings of its own.

    Raises:
        UserError: There is no deepspeed, or it can't do what the config asks for.
    """
    if find_spec("deepspeed") is None:
        raise UserError(
            "DeepSpeedStrategy needs deepspeed, which is not installed: pip install deepspeed. "
            "--strategy fsdp divides a model among processes without it"
        )
    if (cfg.get("auto_scale_lr") or {}).get("enable"):
        raise UserError("--auto-scale-lr: mmengine does not do it under DeepSpeed; set lr instead")
    strategy: Any = cfg.strategy
    wrapper = cfg.optim_wrapper
    kind = wrapper.get("type", "OptimWrapper")
    if kind not in ("OptimWrapper", "AmpOptimWrapper", "DeepSpeedOptimWrapper"):
        raise UserError(f"DeepSpeed steps the optimizer itself; {kind} can't have a part in it")
    wrapper.type = "DeepSpeedOptimWrapper"
    clip, dtype = wrapper.pop("clip_grad", None), wrapper.pop("dtype", None)
    wrapper.pop("loss_scale", None)
    if clip:
        if clip.get("type", "norm") != "norm" or clip.get("norm_type", 2) != 2:
            raise UserError("DeepSpeed clips by the norm of all gradients; change clip_grad")
        strategy.setdefault("gradient_clipping", clip["max_norm"])
    steps = wrapper.pop("accumulative_counts", 1)
    if steps > 1:
        strategy.setdefault("gradient_accumulation_steps", steps)
    if kind == "AmpOptimWrapper":
        half = "bf16" if str(dtype).removeprefix("torch.") == "bfloat16" else "fp16"
        strategy.setdefault(half, dict(enabled=True))


def use_cpu(strategy: Any, kind: str) -> None:
    """Without a GPU the model wrappers must not choose one."""
    if kind == "DDPStrategy":
        wrapper = strategy.setdefault("model_wrapper", {"type": "MMDistributedDataParallel"})
        wrapper.setdefault("broadcast_buffers", False)
        wrapper["device_ids"] = None
    elif kind == "FSDPStrategy":
        wrapper = strategy.setdefault("model_wrapper", {"type": "MMFullyShardedDataParallel"})
        wrapper["device_id"] = "cpu"


def _name(kind: str) -> str:
    return kind.removesuffix("Strategy").lower()
