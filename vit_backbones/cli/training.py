"""Training: a config, the command line's settings on top of it, a Runner."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS
from mmengine.runner import FlexibleRunner, Runner

from ..checkpoint.reading import read_source
from ..checkpoint.sources import REMOTE
from ..datasets.coco_annotations import check_annotation_files
from ..datasets.on_disk import check_data, leaf_datasets, set_data_root
from ..engine import (
    DataCheckHook,
    GuardedPipelinesHook,
    UnreadableImagesHook,
    find_checkpoint,
    unwrapped,
)
from ..errors import UserError
from ..files import make_folder, sole_run
from ..swap import find_model, library_of, swap_backbone, value_at
from .config import NEEDED, apply_options, choose_work_dir, read_config
from .counts import check_counts
from .optimization import check_optimizer, check_schedules, set_amp, set_auto_scale_lr
from .strategies import fit_strategy, set_strategy


def train(args: Namespace) -> None:
    """Run ``tools/train.py``.

    Raises:
        UserError: A file, a folder or the data set is missing, or a setting can't work.
    """
    cfg = training_config(args)
    share_cores(cfg)
    with sole_run(cfg.work_dir) if is_first_process() else nullcontext():
        runner = build_runner(cfg)
        if args.compile:
            if isinstance(runner, FlexibleRunner):  # it builds the model when it trains
                runner.register_hook(CompileHook())
            else:
                compile_backbone(runner)
        runner.train()
    leave_together()


def is_first_process() -> bool:
    """Of a launcher's, before they have found each other."""
    return not any(int(os.environ.get(name, 0)) for name in ("RANK", "SLURM_PROCID"))


def leave_together() -> None:
    """A process that ends while another still writes its last checkpoint would have it killed."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def training_config(args: Namespace) -> Config:
    """The config that ``tools/train.py`` runs, with all checked that needs no model."""
    cfg = read_config(args.config)
    set_strategy(cfg, args.strategy)
    check_weights(args.pretrained)
    options = swap(cfg, args.backbone, args.pretrained, args.cfg_options)
    apply_options(cfg, options)
    check_needed(cfg)
    check_counts(cfg)
    choose_work_dir(cfg, args.work_dir, args.backbone)
    cfg.launcher = args.launcher
    if args.data_root:
        set_data_root(cfg, args.data_root)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    randomness = cfg.setdefault("randomness", dict(seed=None))
    if args.seed is not None:
        randomness["seed"] = args.seed
    if args.deterministic:
        randomness["deterministic"] = True
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    set_resume(cfg, args.resume)
    check_load_from(cfg)
    set_pretrained(cfg, args.pretrained if args.backbone is None else None)
    set_amp(cfg, args.amp)
    set_auto_scale_lr(cfg, args.auto_scale_lr)
    check_optimizer(cfg)
    check_schedules(cfg)
    set_loader_defaults(cfg)
    fit_strategy(cfg)
    check_data(cfg, ("train", "val"))
    return cfg


def swap(
    cfg: Config, backbone: str | None, checkpoint: str | None, options: Mapping[str, Any] | None
) -> dict[str, Any]:
    """``--backbone NAME``: put this encoder into the config, and say what that changed.

    Returns:
        The ``--cfg-options`` that are left: settings of the encoder (``model.backbone.depth``) are
        part of the swap, so that the neck and heads are fitted to them.
    """
    options = dict(options or {})
    if backbone is None:
        return options
    prefix = f"{find_model(cfg)}.backbone."
    overrides = {}
    for key in [key for key in options if key.startswith(prefix)]:
        name = key.removeprefix(prefix).removeprefix("arch.")
        if "." not in name:
            overrides[name] = options.pop(key)
    report = swap_backbone(cfg, backbone, checkpoint=checkpoint, **overrides)
    if is_first_process():  # once for all
        print(report, flush=True)
    return options


def build_runner(cfg: Config) -> Runner:
    """A Runner, or the type that the config names, with this machine's devices in mind, and with
    the checks of the data that every run gets, whosever config it has.

    Raises:
        UserError: There can't be a folder where its files shall go.
    """
    make_folder(cfg.work_dir)
    if cfg.get("launcher", "none") != "none" and not torch.cuda.is_available():
        use_cpu_processes(cfg)
    if library_of(cfg) == "mmdet":
        datasets = leaf_datasets(cfg.get("train_dataloader"))
        steps = [step for dataset in datasets for step in dataset.get("pipeline") or ()]
        check_annotation_files(masks=any(step.get("with_mask") for step in steps))
    runner = RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
    if isinstance(runner, FlexibleRunner) and runner._resume:
        # all weights are in the checkpoint, and the file from which they began may be gone
        found = runner._load_from or find_checkpoint(runner.work_dir)
        runner.strategy.dispatch_kwargs["init_weights_for_test_or_val"] = found is None
    for hook in (UnreadableImagesHook, DataCheckHook, GuardedPipelinesHook):
        if not any(isinstance(other, hook) for other in runner.hooks):
            runner.register_hook(hook())
    return runner


def compile_backbone(runner: Runner) -> None:
    """torch.compile the encoder, in place: it is most of the time, and tensors only."""
    model = unwrapped(runner.model)
    if not isinstance(getattr(model, "backbone", None), torch.nn.Module):
        raise UserError(f"--compile: {type(model).__name__} has no backbone to compile")
    model.backbone.compile(options=compile_options(next(model.parameters()).device))


def compile_options(device: torch.device) -> dict[str, bool]:
    """For torch.compile's inductor. On CPUs it would lay out what convolutions keep for the
    backward pass as one size of images has it: a graph for each size, or an error (torch 2.12)."""
    return {"layout_optimization": False} if device.type == "cpu" else {}


class CompileHook(Hook):
    """Compiles the encoder once a strategy has built and wrapped the model."""

    def before_run(self, runner: FlexibleRunner) -> None:
        compile_backbone(runner)


def set_resume(cfg: Config, resume: str | None) -> None:
    """Go on from a file or, with 'auto', from the last checkpoint in the work folder, if any."""
    if resume is None:
        return
    if resume != "auto" and not Path(resume).exists():
        raise UserError(
            f"--resume: no checkpoint at {resume}\n"
            "Give a file, or --resume alone for the last one in the work folder."
        )
    cfg.resume = True
    cfg.load_from = None if resume == "auto" else resume


def check_load_from(cfg: Config) -> None:
    """``load_from`` starts a run from all weights of another: they must be there."""
    path = cfg.get("load_from")
    if path and "://" not in path and not Path(path).exists():
        raise UserError(f"load_from in the config: no checkpoint at {path}")


def check_needed(cfg: Config) -> None:
    """A config may be for tests alone."""
    if lacking := [key for key in NEEDED if cfg.get(key) is None]:
        raise UserError(f"{cfg.filename} has no {' and no '.join(lacking)}, which training needs")


def check_weights(source: str | None) -> None:
    """``--pretrained``: read the file now, not minutes later; what must be fetched waits."""
    if source and not source.startswith(REMOTE):
        read_source(source)


def set_pretrained(cfg: Config, checkpoint: str | None) -> None:
    """Start the encoder from ``checkpoint``; a config that fine-tunes can't do without."""
    try:
        backbone = value_at(cfg, f"{find_model(cfg)}.backbone")
    except UserError as error:
        if checkpoint:
            raise UserError(f"--pretrained: {error}") from error
        return
    if checkpoint:
        backbone.init_cfg = dict(type="Pretrained", checkpoint=checkpoint)
    init_cfg = (backbone or {}).get("init_cfg")
    if isinstance(init_cfg, Mapping) and init_cfg.get("type") == "Pretrained":
        if not init_cfg.get("checkpoint") and not cfg.get("resume"):
            raise UserError(
                f"{cfg.filename} fine-tunes an encoder that is already trained: "
                "give its weights with --pretrained FILE"
            )
        path = Path(init_cfg.get("checkpoint") or "")
        run = path if path.parent.name == "work_dirs" else path.parent  # a file of the run
        if run.parent.name == "work_dirs" and not path.exists() and not cfg.get("resume"):
            raise UserError(
                f"{cfg.filename} starts from the encoder of another run, {path}, which is not "
                f"there. Train it first:\n    python tools/train.py configs/{run.name}.py\n"
                "or give other weights with --pretrained FILE"
            )


def set_loader_defaults(cfg: Config) -> None:
    """Data loaders of mmpretrain's configs count on what its own tools set: batches are stacked in
    the workers, which live on from epoch to epoch."""
    if library_of(cfg) != "mmpretrain":
        return
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader: Any = cfg.get(name)
        if loader:
            loader.setdefault("collate_fn", dict(type="default_collate"))
            loader.setdefault("persistent_workers", loader.get("num_workers", 0) > 0)
            loader.setdefault("pin_memory", torch.cuda.is_available())


def share_cores(cfg: Config) -> None:
    """Without a GPU, divide the cores between training and the workers that load data.

    A classifier's images may take as long to load as to train on: each worker gets a core, up to
    half of them, since threads that compete for a core spend their time waiting for each other. A
    step of a detector or segmenter is many times its loading, and gets all cores. OMP_NUM_THREADS
    overrides it.
    """
    if torch.cuda.is_available() or "OMP_NUM_THREADS" in os.environ:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    loading = library_of(cfg) == "mmpretrain"
    workers = (cfg.get("train_dataloader") or {}).get("num_workers", 0) if loading else 0
    torch.set_num_threads(max(cores - workers, cores // 2, 1))


def use_cpu_processes(cfg: Config) -> None:
    """Several processes without a GPU: gloo, and a model wrapper that expects no device."""
    cfg.setdefault("env_cfg", {}).setdefault("dist_cfg", {})["backend"] = "gloo"
    cfg.setdefault(
        "model_wrapper_cfg",
        dict(
            type="MMDistributedDataParallel",
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get("find_unused_parameters", False),
        ),
    )
    if cfg.launcher == "pytorch" and not torch.distributed.is_initialized():
        # mmengine would choose a CUDA device first, which fails where there is none
        torch.distributed.init_process_group("gloo")
