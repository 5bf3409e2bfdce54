"""dist_train.sh and slurm_train.sh: what they start, seen by stand-ins for python and srun."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import TOOLS


@pytest.fixture
def launch(tmp_path):
    stand_in = '#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n'
    for name in ("python", "srun"):
        (tmp_path / name).write_text(stand_in)
        (tmp_path / name).chmod(0o755)

    def run(script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess:
        path = f"{tmp_path}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", TOOLS / script, *arguments],
            env={**os.environ, "PATH": path, **env},
            capture_output=True,
            text=True,
        )

    return run


def test_dist_train(launch):
    env = dict(NNODES="2", NODE_RANK="1", MASTER_ADDR="10.0.0.1", PORT="1234")
    words = launch("dist_train.sh", "a b.py", "4", "--seed", "1", **env).stdout.splitlines()
    assert words[:2] == ["-m", "torch.distributed.run"]
    assert {
        "--nnodes=2",
        "--node-rank=1",
        "--master-addr=10.0.0.1",
        "--master-port=1234",
        "--nproc-per-node=4",
    } == set(words[2:-6])
    script, *arguments = words[-6:]
    assert Path(script) == TOOLS / "train.py"
    assert arguments == ["a b.py", "--launcher", "pytorch", "--seed", "1"]


def test_dist_train_on_one_machine(launch):
    words = launch("dist_train.sh", "c.py", "2").stdout.splitlines()
    assert {"--nnodes=1", "--node-rank=0", "--master-addr=127.0.0.1"} < set(words)


def test_slurm_train(launch):
    env = dict(GPUS="4", SRUN_ARGS="--quotatype=auto --time=10")
    result = launch("slurm_train.sh", "gpu", "job", "c.py", "--amp", **env)
    words = result.stdout.splitlines()
    assert {"--partition=gpu", "--job-name=job", "--ntasks=4", "--gres=gpu:4"} < set(words)
    assert {"--quotatype=auto", "--time=10"} < set(words)
    assert words[-4:] == ["c.py", "--launcher", "slurm", "--amp"]


@pytest.mark.parametrize("script", ["dist_train.sh", "slurm_train.sh"])
def test_usage(launch, script):
    result = launch(script, "c.py")
    assert result.returncode == 2
    assert f"tools/{script}" in result.stderr
