"""DDP and FSDP by mmengine's strategies train what one process trains, and resume anywhere."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.optim import AmpOptimWrapper

from tests.engine.digits import ARCH, PER_EPOCH, config, train
from tests.engine.processes import free_port, on_ranks
from vit_backbones import UserError, VisionTransformer, load_checkpoint
from vit_backbones.checkpoint import sharded
from vit_backbones.checkpoint.reading import read_state_dict
from vit_backbones.engine.checkpoint_hook import find_checkpoint, is_complete
from vit_backbones.engine.fsdp_strategy import fit_mixed_precision

ROOT = Path(__file__).parents[2]


def together(processes: int, work_dir: Path, **changes: Any) -> list[float]:
    """The losses of a run of several processes."""
    answers = on_ranks(processes, train_rank, work_dir, processes, changes)
    for answer in answers:
        assert isinstance(answer, list), answer
        np.testing.assert_allclose(answer, answers[0], rtol=1e-7)
    return answers[0]


def train_rank(work_dir: Path, processes: int, changes: dict[str, Any]) -> list[float]:
    return train(work_dir, processes, launcher="pytorch", **changes)


def tiny_encoder() -> VisionTransformer:
    return VisionTransformer(ARCH, img_size=16, patch_size=4)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> list[float]:
    losses = train(tmp_path_factory.mktemp("alone"))
    assert len(losses) == len(set(losses)) == 3 * PER_EPOCH
    return losses


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_what_one_trains(strategy, alone, tmp_path):
    np.testing.assert_allclose(together(2, tmp_path, strategy=strategy), alone, rtol=1e-5)


@pytest.mark.parametrize("name", ["swin_digits", "mvit_digits"])
def test_swin_and_mvit_are_sharded_by_block(name, tmp_path):
    """Two steps; nothing computes a block's parameters outside of the block."""
    losses = together(2, tmp_path / "two", strategy="fsdp", config=name, kill=2)
    assert len(set(losses)) == 2
    np.testing.assert_allclose(losses, train(tmp_path / "one", config=name, kill=2), rtol=1e-5)


def test_a_strategy_resumes_without_the_first_weights(tmp_path):
    first = tmp_path / "first.pth"
    torch.save({f"backbone.{n}": t for n, t in tiny_encoder().state_dict().items()}, first)
    start = {"model.backbone.init_cfg": dict(type="Pretrained", checkpoint=str(first))}
    losses = together(1, tmp_path / "run", strategy="ddp", **start, kill=2 * PER_EPOCH + 1)
    first.unlink()
    resumed = together(1, tmp_path / "run", strategy="ddp", resume="auto", **start)
    assert (len(losses), len(resumed)) == (2 * PER_EPOCH + 1, PER_EPOCH)


@pytest.mark.parametrize("kind", ["AmpOptimWrapper", "mmengine.AmpOptimWrapper", AmpOptimWrapper])
def test_a_scaler_of_all_processes_takes_no_fused_optimizer(kind):
    cfg = dict(type=kind, optimizer=dict(type="AdamW", fused=True, lr=1e-3))
    fit_mixed_precision(cfg)
    assert cfg["use_fsdp"] and "fused" not in cfg["optimizer"]


SHARDED = {"strategy": "fsdp", "strategy.state_dict_cfg": "sharded"}


@pytest.fixture(scope="module")
def folder(alone, tmp_path_factory) -> Path:
    """Work folder of two processes, killed in the last epoch, that recompute their activations."""
    work_dir = tmp_path_factory.mktemp("sharded")
    recompute = {"strategy.activation_checkpointing.check_fn": "vit_backbones.is_encoder_block"}
    losses = together(2, work_dir, kill=2 * PER_EPOCH + 1, **SHARDED, **recompute)
    np.testing.assert_allclose(losses, alone[: 2 * PER_EPOCH + 1], rtol=1e-5)
    return work_dir


def copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target / "copy"))


def test_a_sharded_checkpoint_is_a_folder_with_a_file_of_each_process(folder):
    checkpoint = folder / "epoch_2.pth"
    assert find_checkpoint(folder) == str(checkpoint)
    names = {path.name for path in checkpoint.iterdir()}
    assert names == {".metadata", "state.pth", "__0_0.distcp", "__1_0.distcp"}
    assert not (folder / "epoch_1.pth").exists()  # max_keep_ckpts=1
    assert not list(folder.glob("*.partial"))


def test_a_sharded_checkpoint_resumes_on_another_number_of_processes(folder, alone, tmp_path):
    losses = together(3, copy(folder, tmp_path), resume="auto", **SHARDED)
    np.testing.assert_allclose(losses, alone[2 * PER_EPOCH :], rtol=1e-5)


def test_a_sharded_checkpoint_resumes_without_a_strategy(folder, alone, tmp_path):
    losses = train(copy(folder, tmp_path), resume="auto")
    np.testing.assert_allclose(losses, alone[2 * PER_EPOCH :], rtol=1e-5)


def test_load_checkpoint_reads_the_encoder_out_of_a_sharded_checkpoint(folder, tmp_path):
    checkpoint = folder / "epoch_2.pth"
    model = tiny_encoder()
    load_checkpoint(model, checkpoint, quiet=True)
    weights = read_state_dict(checkpoint)
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[f"backbone.{name}"]), name
    whole = train_whole(tmp_path, 2)
    for name, value in whole.items():
        if name.endswith("qkv.bias"):  # the keys' bias has no gradient but rounding errors
            continue
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-6)


def train_whole(work_dir: Path, epochs: int) -> dict[str, torch.Tensor]:
    """Weights after some of the epochs of a run of one process."""
    train(work_dir, kill=epochs * PER_EPOCH)
    return read_state_dict(work_dir / f"epoch_{epochs}.pth")


def test_one_file_resumes_under_fsdp_and_without(alone, tmp_path):
    """A file of FSDP without it, and a file of that run under FSDP again."""
    together(2, tmp_path, strategy="fsdp", kill=PER_EPOCH + 1)
    assert (tmp_path / "epoch_1.pth").is_file()
    losses = train(tmp_path, resume="auto", kill=2 * PER_EPOCH + 1)
    np.testing.assert_allclose(losses, alone[PER_EPOCH : 2 * PER_EPOCH + 1], rtol=1e-5)
    losses = together(2, tmp_path, strategy="fsdp", resume="auto")
    np.testing.assert_allclose(losses, alone[2 * PER_EPOCH :], rtol=1e-5)


def test_what_could_run_code_is_refused(folder, tmp_path):
    checkpoint = copy(folder, tmp_path) / "epoch_2.pth"
    ran = tmp_path / "ran"

    class Code:
        def __reduce__(self):
            return os.mkdir, (str(ran),)

    (checkpoint / ".metadata").write_bytes(pickle.dumps(Code()))
    with pytest.raises(UserError, match="could run code"):
        read_state_dict(checkpoint)
    assert not ran.exists()


@pytest.mark.parametrize("name", [".metadata", "state.pth", "__1_0.distcp"])
def test_a_damaged_part_is_named(name, folder, tmp_path):
    checkpoint = copy(folder, tmp_path) / "epoch_2.pth"
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[: len(content) // 3])
    with pytest.raises(UserError, match=r"epoch_2\.pth"):
        sharded.read_sharded(checkpoint)


def test_a_folder_without_its_last_file_is_no_checkpoint(folder, tmp_path):
    work_dir = copy(folder, tmp_path)
    (work_dir / "epoch_2.pth" / ".metadata").unlink()
    assert not is_complete(work_dir / "epoch_2.pth")
    with pytest.raises(UserError, match="folder"):
        read_state_dict(work_dir / "epoch_2.pth")


DIES = """
import os
from mmengine.hooks import Hook
from vit_backbones.registry import HOOKS

@HOOKS.register_module()
class Dies(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.rank == 1 and runner.iter == {at}:
            os.kill(os.getpid(), 9)
"""


def test_a_worker_that_dies_ends_the_run_with_its_reason(alone, tmp_path):
    """As a person starts it; the run then resumes from its last checkpoint."""
    work_dir, at = tmp_path / "run", 2 * PER_EPOCH + 1
    cfg = config(work_dir, 2, strategy="fsdp", launcher="pytorch")
    cfg.custom_imports.imports.append("dies")
    cfg.custom_hooks.append(dict(type="vit_backbones.Dies"))
    settings = (f"{key} = {value!r}\n" for key, value in cfg.to_dict().items())
    (tmp_path / "dying.py").write_text("".join(settings))
    (tmp_path / "dies.py").write_text(DIES.format(at=at))
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    train = [str(ROOT / "tools" / "train.py"), str(tmp_path / "dying.py"), "--launcher", "pytorch"]
    done = subprocess.run(
        [sys.executable, *torchrun, *train, "--work-dir", str(work_dir)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 1
    cause = done.stderr[done.stderr.index("Root Cause") :]
    assert re.search(r"rank +: 1 ", cause), cause
    assert "Signal 9 (SIGKILL) received by PID" in cause
    losses = together(2, work_dir, strategy="fsdp", resume="auto")
    np.testing.assert_allclose(losses, alone[2 * PER_EPOCH :], rtol=1e-5)
