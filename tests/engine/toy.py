"""A run of a fraction of a second: noise as images, a linear model with dropout, mmengine's Runner.

What it draws at random: the order of the data, an augmentation with each of the generators of
Python, numpy and torch, and dropout. So two runs end with equal weights only when all of these are
equal.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.dist import get_rank
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

import vit_backbones.engine  # noqa: F401  (registers the hooks)
from vit_backbones.registry import DATASETS, METRICS, MODELS

SIZE = 48


@DATASETS.register_module(force=True)
class ToyDataset(BaseDataset):
    def __init__(self, length: int = SIZE, **kwargs: Any) -> None:
        self.length = length
        super().__init__(pipeline=[augment], serialize_data=False, **kwargs)

    def load_data_list(self) -> list[dict]:
        pixels = np.random.RandomState(0).randn(self.length, 8).astype(np.float32)
        return [dict(x=row, label=int(row.sum() > 0)) for row in pixels]


def augment(sample: dict) -> dict:
    noise = random.random() + np.random.rand() + torch.rand(8)
    return dict(x=torch.from_numpy(sample["x"]) + 0.3 * noise, label=sample["label"])


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    def __init__(self, nan_at: int | None = None, nan_rank: int | None = None) -> None:
        super().__init__()
        self.first, self.drop, self.head = nn.Linear(8, 8), nn.Dropout(0.3), nn.Linear(8, 2)
        self.nan_at, self.nan_rank, self.calls = nan_at, nan_rank, 0

    def forward(self, x: Any, label: Any, mode: str = "tensor") -> Any:
        x = torch.stack(list(x)).float()
        logits = self.head(self.drop(torch.relu(self.first(x))))
        if mode != "loss":
            return [dict(hit=bool(p == t)) for p, t in zip(logits.argmax(1), label)]
        self.calls += 1
        loss = nn.functional.cross_entropy(logits, torch.as_tensor(label))
        if self.calls == self.nan_at and self.nan_rank in (None, get_rank()):
            loss = loss * float("nan")
        return dict(loss=loss)


@METRICS.register_module(force=True)
class ToyAccuracy(BaseMetric):
    """``scores`` replaces what is measured, one per validation."""

    default_prefix = "accuracy"

    def __init__(self, scores: list[float] | None = None) -> None:
        super().__init__()
        self.scores = scores

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        self.results += [sample["hit"] for sample in data_samples]

    def compute_metrics(self, results: list) -> dict:
        measured = 100.0 * float(np.mean(results))
        if self.scores is None:
            return dict(top1=measured)
        runner_epoch = CURRENT["runner"].epoch
        return dict(top1=self.scores[min(runner_epoch, len(self.scores)) - 1])


CURRENT: dict[str, Runner] = {}
RUNS = [0]


def toy_config(work_dir: Path | str, epochs: int = 4, workers: int = 0, **changes: Any) -> Config:
    loader = dict(
        batch_size=8,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=dict(type="default_collate"),
    )
    cfg = Config(
        dict(
            default_scope="mmengine",
            work_dir=str(work_dir),
            model=dict(type="vit_backbones.ToyModel"),
            train_dataloader=dict(
                **loader,
                dataset=dict(type="vit_backbones.ToyDataset"),
                sampler=dict(type="DefaultSampler", shuffle=True),
            ),
            val_dataloader=dict(
                **{**loader, "num_workers": 0, "persistent_workers": False},
                dataset=dict(type="vit_backbones.ToyDataset", length=16, test_mode=True),
                sampler=dict(type="DefaultSampler", shuffle=False),
            ),
            val_evaluator=dict(type="vit_backbones.ToyAccuracy"),
            optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.02)),
            param_scheduler=[
                dict(type="CosineAnnealingLR", by_epoch=True, T_max=20, convert_to_iter_based=True)
            ],
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            val_cfg=dict(),
            default_hooks=dict(
                logger=dict(type="LoggerHook", interval=1000),
                checkpoint=dict(
                    type="vit_backbones.CheckpointHook", interval=1, save_best="accuracy/top1"
                ),
                seed=dict(type="vit_backbones.SeedHook"),
                finite_loss=dict(type="vit_backbones.FiniteLossHook"),
            ),
            randomness=dict(seed=3),
            log_level="WARNING",
        )
    )
    cfg.merge_from_dict(changes)
    return cfg


def toy_runner(cfg: Config) -> Runner:
    RUNS[0] += 1
    cfg.experiment_name = f"toy_{RUNS[0]}"  # mmengine keeps one message hub per name
    runner = CURRENT["runner"] = Runner.from_cfg(cfg)
    return runner


class Killed(Exception):
    pass


class KillHook(Hook):
    """Ends a run as a kill does: without any of the steps that a run's end has."""

    def __init__(self, **at: int) -> None:
        self.at = at

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == self.at.get("epoch"):
            raise Killed

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == self.at.get("iter"):
            raise Killed


def run(cfg: Config, **kill: int) -> Runner:
    """Train; with ``epoch=`` or ``iter=``, until just before it."""
    return train(toy_runner(cfg), **kill)


def train(runner: Runner, **kill: int) -> Runner:
    if kill:
        runner.register_hook(KillHook(**kill), priority="LOWEST")
    try:
        runner.train()
        assert not kill, "the run ended before it was to be killed"
    except Killed:
        pass
    runner.train_dataloader._iterator = None  # ends worker processes that live on
    return runner


def weights(runner: Runner) -> dict[str, torch.Tensor]:
    model = getattr(runner.model, "module", runner.model)
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), f"{name}: {(a[name] - b[name]).abs().max()}"
