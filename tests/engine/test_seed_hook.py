"""Exact resume: a run that was killed and resumed ends with the weights of one that was not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner.checkpoint import _load_checkpoint
from torch.utils.data import BatchSampler

from tests.engine.toy import SIZE, assert_same_weights, run, toy_config, weights
from vit_backbones.engine.seeding import DrawSampler, fetch

ITERATIONS = dict(
    train_cfg=dict(by_epoch=False, max_iters=14, val_interval=5),
    param_scheduler=[dict(type="CosineAnnealingLR", by_epoch=False, T_max=20)],
)


def iteration_config(work_dir: Any, sampler: str = "InfiniteSampler", **kwargs: Any) -> Any:
    cfg = toy_config(work_dir, **kwargs)
    cfg.train_cfg = ITERATIONS["train_cfg"]
    cfg.param_scheduler = ITERATIONS["param_scheduler"]
    cfg.default_hooks.checkpoint.by_epoch = False
    cfg.default_hooks.checkpoint.interval = 4
    cfg.train_dataloader.sampler.type = sampler
    return cfg


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_after_epochs_is_exact(tmp_path, workers):
    extras = dict(custom_hooks=[dict(type="EMAHook", momentum=0.1)])
    whole = run(toy_config(tmp_path / "whole", workers=workers, **extras))
    run(toy_config(tmp_path / "parts", workers=workers, **extras), epoch=2)
    resumed = run(toy_config(tmp_path / "parts", workers=workers, resume=True, **extras))
    assert_same_weights(weights(whole), weights(resumed))
    assert_same_weights(ema_weights(whole), ema_weights(resumed))
    assert not torch.equal(weights(whole)["head.bias"], ema_weights(whole)["module.head.bias"])


def test_resume_with_other_workers_is_exact(tmp_path):
    whole = run(toy_config(tmp_path / "whole", workers=0))
    run(toy_config(tmp_path / "parts", workers=2), epoch=1)
    resumed = run(toy_config(tmp_path / "parts", workers=1, resume=True))
    assert_same_weights(weights(whole), weights(resumed))


def test_resume_from_a_file_is_exact(tmp_path):
    whole = run(toy_config(tmp_path / "whole"))
    earlier = str(tmp_path / "whole" / "epoch_1.pth")
    resumed = run(toy_config(tmp_path / "other", resume=True, load_from=earlier))
    assert_same_weights(weights(whole), weights(resumed))


def test_a_seed_that_nobody_set_comes_from_the_checkpoint(tmp_path):
    whole = run(toy_config(tmp_path / "whole", **{"randomness.seed": None}))
    earlier = str(tmp_path / "whole" / "epoch_2.pth")
    resume = dict(resume=True, load_from=earlier)
    resumed = run(toy_config(tmp_path / "other", **{"randomness.seed": None}, **resume))
    assert_same_weights(weights(whole), weights(resumed))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("sampler", ["InfiniteSampler", "DefaultSampler"])
def test_resume_within_a_stream_of_iterations_is_exact(tmp_path, monkeypatch, workers, sampler):
    monkeypatch.setattr("mmengine.runner.loops.time.sleep", lambda seconds: None)
    whole = run(iteration_config(tmp_path / "whole", sampler, workers=workers))
    run(iteration_config(tmp_path / "parts", sampler, workers=workers), iter=9)
    resumed = run(iteration_config(tmp_path / "parts", sampler, workers=workers, resume=True))
    assert resumed.iter == 14
    assert_same_weights(weights(whole), weights(resumed))


def test_resume_of_an_infinite_stream_loads_nothing_twice(tmp_path, monkeypatch):
    run(iteration_config(tmp_path), iter=9)
    loaded = []
    monkeypatch.setattr(
        "vit_backbones.engine.seed_hook.fetch",
        lambda dataset, indices: loaded.append(indices) or fetch(dataset, indices),
    )
    run(iteration_config(tmp_path, resume=True))
    assert len(loaded) == 14 - 8  # the checkpoint of iteration 8


@pytest.mark.parametrize("killed, workers", [(10, 0), (10, 2), (7, 0)])
def test_resume_within_an_epoch_is_exact(tmp_path, killed, workers):
    """From iteration 8 of epochs of 6, and from iteration 6: after an epoch's end, but before the
    validation there."""
    changes = {
        "default_hooks.checkpoint.by_epoch": False,
        "default_hooks.checkpoint.interval": 4 if killed == 10 else 6,
        "optim_wrapper.accumulative_counts": 2,
    }
    whole = run(toy_config(tmp_path / "whole", workers=workers, **changes))
    run(toy_config(tmp_path / "parts", workers=workers, **changes), iter=killed)
    resumed = run(toy_config(tmp_path / "parts", workers=workers, resume=True, **changes))
    assert (resumed.epoch, resumed.iter) == (whole.epoch, whole.iter) == (4, 24)
    assert_same_weights(weights(whole), weights(resumed))


def test_resume_of_mmengines_checkpoint_with_other_epochs(tmp_path):
    """It does not tell how long its epochs were: no batch of this run's is left out."""
    mmengines = {"default_hooks.checkpoint.type": "CheckpointHook"}
    for batch_size in (4, 16):
        folder, changes = tmp_path / str(batch_size), {"train_dataloader.batch_size": batch_size}
        run(toy_config(folder, **mmengines), epoch=2)
        resumed = run(toy_config(folder, epochs=3, resume=True, **mmengines, **changes))
        assert resumed.iter == 2 * SIZE // 8 + SIZE // batch_size


class ByLabel(BatchSampler):
    """Batches of one class, as mmdet's are of one aspect ratio."""

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool = False) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.buckets = [], []

    def __iter__(self) -> Iterator[list[int]]:
        for index in self.sampler:
            bucket = self.buckets[self.sampler.dataset.get_data_info(int(index))["label"]]
            bucket.append(index)
            if len(bucket) == self.batch_size:
                yield bucket[:]
                bucket.clear()


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_of_batches_that_follow_from_the_images(tmp_path, monkeypatch, workers):
    monkeypatch.setitem(DATA_SAMPLERS.module_dict, "ByLabel", ByLabel)
    batches = {"train_dataloader.batch_sampler": dict(type="ByLabel")}
    whole = run(iteration_config(tmp_path / "whole", workers=workers, **batches))
    run(iteration_config(tmp_path / "parts", workers=workers, **batches), iter=9)
    loaded = []
    monkeypatch.setattr(
        "vit_backbones.engine.seed_hook.fetch",
        lambda dataset, indices: loaded.append(indices) or fetch(dataset, indices),
    )
    resumed = run(iteration_config(tmp_path / "parts", workers=workers, resume=True, **batches))
    assert_same_weights(weights(whole), weights(resumed))
    assert len(loaded) == (14 - 8 if workers == 0 else 0)  # or by workers


def test_seeds_differ_between_epochs_and_samples():
    """The same image gets another augmentation in each epoch."""
    dataset = [lambda: torch.rand(1).item()] * 3

    class Calls:
        def __getitem__(self, index: int) -> float:
            return dataset[index]()

    draws = DrawSampler([0, 1, 2], seed=5)
    first, second = (fetch(Calls(), list(draws)) for _ in range(2))
    assert len({*first, *second}) == 6
    draws = DrawSampler([0, 1, 2], seed=5)
    assert fetch(Calls(), list(draws)) == first
    assert len(draws) == 3


def test_global_draws_are_those_of_one_process(monkeypatch):
    """Two ranks with strided halves of the order seed each sample as one process does."""
    order = list(range(10, 18))
    alone = {int(draw): draw.key for draw in DrawSampler(order, seed=1)}
    for rank in range(2):
        monkeypatch.setattr("vit_backbones.engine.seeding.get_dist_info", lambda r=rank: (r, 2))
        for draw in DrawSampler(order[rank::2], seed=1):
            assert draw.key == alone[int(draw)]


def test_data_order_changes_with_the_epoch(tmp_path):
    runner = run(toy_config(tmp_path, epochs=1))
    sampler = runner.train_dataloader.batch_sampler.sampler
    orders = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        orders.append([int(draw) for draw in sampler])
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(SIZE))


def ema_weights(runner: Any) -> dict[str, torch.Tensor]:
    hook = next(hook for hook in runner.hooks if hasattr(hook, "ema_model"))
    return hook.ema_model.state_dict()


def test_resume_amid_accumulated_gradients_is_exact(tmp_path):
    """Six iterations per epoch, an update every four: the checkpoint lies between two updates."""
    changes = {
        "optim_wrapper.accumulative_counts": 4,
        "default_hooks.accumulation": dict(type="vit_backbones.AccumulationHook"),
    }
    whole = run(toy_config(tmp_path / "whole", **changes))
    for epoch in (1, 2):
        run(toy_config(tmp_path / str(epoch), **changes), epoch=epoch)
        resumed = run(toy_config(tmp_path / str(epoch), resume=True, **changes))
        assert_same_weights(weights(whole), weights(resumed))
    saved = {p.name: "gradients" in _load_checkpoint(str(p)) for p in tmp_path.glob("whole/*.pth")}
    assert {name for name, has in saved.items() if has} == {"epoch_1.pth", "epoch_3.pth"}
