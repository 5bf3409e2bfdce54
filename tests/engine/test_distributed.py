"""Several processes train what one process with the whole batch trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.engine.processes import free_port, on_ranks
from tests.engine.toy import assert_same_weights, run, toy_config, weights
from vit_backbones import UserError

ROOT = Path(__file__).parents[2]
EVERY_LOSS = ["default_hooks.logger.interval=1", "log_processor.window_size=1"]
FEW_IMAGES = ["train_dataloader.dataset.indices=192", "val_dataloader.dataset.indices=20"]
TWO_EPOCHS = ["train_cfg.max_epochs=2", "param_scheduler=[]", "train_dataloader.drop_last=True"]


def test_two_gloo_processes_train_vit_digits_like_one(tmp_path):
    """Same images, same augmentation, same gradients: the loss of each iteration is equal."""
    alone = train(tmp_path / "one", [sys.executable], 64)
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    pair = train(tmp_path / "two", [sys.executable, *launch], 32, "--launcher", "pytorch")
    assert len(alone) == 6
    assert len(set(alone)) == 6
    np.testing.assert_allclose(pair, alone, rtol=1e-5)


def train(work_dir: Path, command: list[str], batch_size: int, *arguments: str) -> list[float]:
    """The loss of each iteration."""
    options = [*EVERY_LOSS, *FEW_IMAGES, *TWO_EPOCHS, f"train_dataloader.batch_size={batch_size}"]
    script = [str(ROOT / "tools" / "train.py"), str(ROOT / "configs" / "vit_digits.py")]
    arguments = (*arguments, "--seed", "1", "--work-dir", str(work_dir), "--cfg-options", *options)
    done = subprocess.run(
        [*command, *script, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (log,) = work_dir.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def train_toy(work_dir: Path, changes: dict[str, Any], kill: dict[str, int]) -> Any:
    """The final weights, as arrays (tensors would travel through shared memory)."""
    wrapper = dict(type="MMDistributedDataParallel", device_ids=None, broadcast_buffers=False)
    cfg = toy_config(work_dir, launcher="pytorch", model_wrapper_cfg=wrapper, **changes)
    return {name: value.numpy() for name, value in weights(run(cfg, **kill)).items()}


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    assert isinstance(arrays, dict), arrays
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


def test_resume_of_two_processes_is_exact(tmp_path):
    """Dropout differs between the ranks, and comes back on each."""
    whole = on_ranks(2, train_toy, tmp_path / "whole", {}, {})
    on_ranks(2, train_toy, tmp_path / "parts", {}, dict(epoch=2))
    resumed = on_ranks(2, train_toy, tmp_path / "parts", dict(resume=True), {})
    for rank in range(2):
        assert_same_weights(tensors(whole[rank]), tensors(resumed[rank]))
    assert_same_weights(tensors(whole[0]), tensors(whole[1]))


def test_nan_on_one_rank_stops_all(tmp_path):
    ruined = {"model.nan_at": 5, "model.nan_rank": 1}
    for answer in on_ranks(2, train_toy, tmp_path, ruined, {}):
        assert isinstance(answer, UserError), answer
        assert "no longer finite at iteration 5" in str(answer)
