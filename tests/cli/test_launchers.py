"""dist_train.sh and slurm_train.sh: what they start, seen by stand-ins for python and srun."""

from __future__ import annotations

import os
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest

from tests.cli.command import TOOLS


@pytest.fixture
def launch(tmp_path):
    words = '#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n'

    def run(script: str, *arguments: str, stand_in: str = words, **env: str) -> Namespace:
        for name in ("python", "srun"):
            (tmp_path / name).write_text(stand_in)
            (tmp_path / name).chmod(0o755)
        process = subprocess.Popen(
            ["bash", TOOLS / script, *arguments],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, err = process.communicate()
        return Namespace(stdout=out, stderr=err, returncode=process.returncode, pid=process.pid)

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


@pytest.mark.parametrize("script", ["dist_train.sh", "slurm_train.sh"])
def test_a_signal_to_the_script_reaches_what_it_starts(launch, script):
    """It is the same process: else a training would go on after its script was ended."""
    process = launch(script, *["4"] * 3, stand_in="#!/bin/sh\necho $$ $PPID\n")
    assert process.stdout.split() == [str(process.pid), str(os.getpid())]


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
