"""Short runs of vit_digits by the command line's own code, alone or in one of several processes."""

from __future__ import annotations

from argparse import Namespace
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook

from tests.engine.toy import Killed, KillHook
from vit_backbones.cli import training

# imported once, before processes are forked; without the repairs above it could not be
for module in ("mmpretrain.models", "mmpretrain.datasets", "mmpretrain.evaluation"):
    import_module(module)

ARGUMENTS = dict(
    config="vit_digits",
    data_root=None,
    backbone=None,
    pretrained=None,
    resume=None,
    seed=1,
    strategy=None,
    launcher="none",
    deterministic=False,
    amp=False,
    auto_scale_lr=False,
    no_validate=False,
)
ARCH = dict(embed_dims=16, depth=2, num_heads=2, mlp_ratio=2)
VIT = {"model.backbone.arch": ARCH, "model.head.in_channels": 16}
SMALL = {
    "train_dataloader.dataset.indices": 48,
    "train_dataloader.num_workers": 0,
    "val_dataloader.dataset.indices": 24,
    "val_dataloader.batch_size": 12,
    "train_cfg.max_epochs": 3,
    "param_scheduler.0.end": 1,
    "param_scheduler.1.begin": 1,
    # rules that go by names, modules and shapes of the parameters, and matter soon
    "optim_wrapper.constructor": "vit_backbones.EncoderOptimWrapperConstructor",
    "optim_wrapper.optimizer.weight_decay": 5.0,
    "optim_wrapper.paramwise_cfg.layer_decay_rate": 0.7,
    "optim_wrapper.paramwise_cfg.flat_decay_mult": 0.0,
    "log_level": "ERROR",
}
PER_EPOCH = 4
BATCH = 12  # of all processes together


class Losses(Hook):
    priority = "LOWEST"

    def __init__(self) -> None:
        self.values: list[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.values.append(outputs["loss"].item())


def config(work_dir: Path, processes: int = 1, **changes: Any) -> Config:
    """Of a run in which all processes together take batches of 12.

    Args:
        changes: Of the command line's arguments and, with a dot, of the config.
    """
    options = {key: value for key, value in changes.items() if key not in ARGUMENTS}
    arguments = {key: value for key, value in changes.items() if key in ARGUMENTS}
    size = {"train_dataloader.batch_size": BATCH // processes}
    if arguments.get("config", "vit_digits") == "vit_digits":
        size |= VIT
    arguments["cfg_options"] = {**SMALL, **size, **options}
    cfg = training.training_config(
        Namespace(**{**ARGUMENTS, "work_dir": str(work_dir), **arguments})
    )
    for hook in ("convergence_plot", "progress", "summary"):  # seconds
        del cfg.default_hooks[hook]
    return cfg


def train(work_dir: Path, processes: int = 1, kill: int | None = None, **changes: Any) -> Any:
    """Losses of the iterations of a run, here or as one of several processes.

    Args:
        kill: Ends it at this iteration as a kill does.
        changes: As of `config`.
    """
    cfg = config(work_dir, processes, **changes)
    cfg.experiment_name = f"{work_dir.name}_{kill}"  # mmengine keeps a message hub for each
    runner = training.build_runner(cfg)
    losses = Losses()
    runner.register_hook(losses)
    if kill is not None:
        runner.register_hook(KillHook(iter=kill), priority="LOWEST")
    try:
        runner.train()
    except Killed:
        pass
    return losses.values
