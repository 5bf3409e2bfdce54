"""Run a command line in this process: its arguments, its output, its exit status."""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock
from uuid import uuid4

TOOLS = Path(__file__).parents[2] / "tools"
TINY = [  # vit_digits, a fraction of it
    "train_cfg.max_epochs=2",
    "train_dataloader.dataset.indices=64",
    "train_dataloader.num_workers=0",
    "model.backbone.arch.depth=1",
    "param_scheduler.0.end=1",  # of the warm-up
    "param_scheduler.1.begin=1",
]


class Result(NamedTuple):
    status: int
    out: str
    err: str


def command(tool: str, *arguments: object) -> Result:
    """``tools/TOOL.py ARGUMENTS``. What would end with a traceback is raised."""
    script = TOOLS / f"{tool}.py"
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", [str(script), *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            status = end.code or 0
    return Result(status, out.getvalue(), err.getvalue())


def options(*settings: str) -> list[str]:
    """``--cfg-options`` with settings, and a name of its own for each run of a process."""
    return ["--cfg-options", *settings, f"experiment_name=test_{uuid4().hex[:8]}"]
