"""A fresh interpreter, because repairs are about what happens when a module is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run():
    """Run a program in a fresh interpreter, as if ``hidden`` modules were not installed."""

    def run(program: str, *, hidden: tuple[str, ...] = (), **environment: str):
        hide = f"import sys; sys.modules |= dict.fromkeys({hidden!r})\n"
        return subprocess.run(
            [sys.executable, "-c", hide + program],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
