"""Whether a classifier's data pipeline keeps up with its training."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from math import ceil
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from ..benchmark.data_loading import loading_rate, make_photographs
from ..benchmark.machine import busy_note, load, machine_name, thread_note
from ..benchmark.rounds import cpu_timer, cuda_timer
from ..datasets.on_disk import check_data, set_data_root
from ..errors import UserError
from .config import choose_work_dir, read_config
from .optimization import set_amp
from .training import set_loader_defaults


def study(args: Namespace) -> None:
    """Run ``tools/benchmark_data.py``.

    Raises:
        UserError: No such config, or one that doesn't train a classifier from a folder of images.
    """
    for name, least in dict(batch=1, steps=1, workers=0).items():
        if getattr(args, name) < least:
            raise UserError(f"--{name} must be {least} or more, not {getattr(args, name)}")
    load_before = load()
    with tempfile.TemporaryDirectory() as folder:
        cfg = read_config(args.config, args.cfg_options)
        if cfg.get("default_scope") != "mmpretrain":
            raise UserError(f"{args.config} trains no classifier of mmpretrain's")
        if args.data_root is None:
            make_photographs(Path(folder))
        set_data_root(cfg, args.data_root or folder)
        check_data(cfg, ("train",))
        set_loader_defaults(cfg)
        set_amp(cfg, False)
        init_default_scope("mmpretrain")
        one = loading_rate(cfg, 0, args.batch, args.seconds)
        several = args.workers and loading_rate(cfg, args.workers, args.batch, args.seconds)
        trained = training_rate(cfg, args, folder)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = None if device == "cuda" else torch.get_num_threads()
    images = args.data_root or "made-up photographs of 500x375"
    planned = cfg.train_dataloader.num_workers
    print(f"One worker loads {one:.0f} images/s ({images}).")
    if several:
        print(f"{args.workers} workers load {several:.0f} images/s on this machine.")
    print(
        f"{machine_name(device)}{thread_note(threads)} trains {trained:.1f} images/s, batches of "
        f"{args.batch}: {ceil(trained / one)} of the recipe's {planned} workers keep up."
    )
    print(f"Those {planned}, each with a core, would feed up to {planned * one:.0f} images/s.")
    if warning := busy_note(load_before):
        print(warning)


def training_rate(cfg, args: Namespace, folder: str) -> float:
    """Images per second of the recipe's training step, its own head, loss and optimizer, on one
    batch that is already there."""
    cfg = cfg.copy()
    loader = dict(cfg.train_dataloader, batch_size=args.batch, num_workers=0)
    cfg.train_dataloader = {**loader, "persistent_workers": False}
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    choose_work_dir(cfg, folder, None)
    cfg.log_level = "ERROR"
    runner = Runner.from_cfg(cfg)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    data = next(iter(runner.build_dataloader(cfg.train_dataloader, seed=0)))
    runner.model.train()

    def step() -> None:
        runner.model.train_step(data, wrapper)

    timer = cuda_timer if torch.cuda.is_available() else cpu_timer
    timer(step, 1)
    return args.batch / timer(step, args.steps)
