"""The progress bar in a terminal, and its absence elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.toy import run, toy_config, toy_runner

ROOT = Path(__file__).parents[2]
BAR = "━"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@contextmanager
def terminal(monkeypatch, columns: int = 120) -> Iterator[list[str]]:
    """A pseudo-terminal as stdout; what was written to it is in the list afterwards."""
    main, side = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    chunks, written = [], []

    def read() -> None:
        try:
            while data := os.read(main, 1 << 16):
                chunks.append(data)
        except OSError:  # closed at the other end
            pass

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(side, "w", buffering=1) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        yield written
        monkeypatch.undo()
    reader.join()
    os.close(main)
    written.append(b"".join(chunks).decode())


def bar_config(work_dir: Path, **changes):
    hooks = {
        "default_hooks.plot": dict(type="vit_backbones.ConvergencePlotHook"),
        "default_hooks.progress": dict(type="vit_backbones.ProgressHook"),
        "default_hooks.logger.interval": 2,
        "log_level": "INFO",
    }
    return toy_config(work_dir, epochs=3, **hooks, **changes)


@pytest.fixture(autouse=True)
def draw_every_step(monkeypatch):
    monkeypatch.setattr("vit_backbones.engine.progress_hook.REFRESH_SECONDS", 0)


def test_bar_shows_epoch_values_and_time_left(tmp_path, monkeypatch):
    with terminal(monkeypatch) as written:
        run(bar_config(tmp_path, **{"val_evaluator.scores": [50.0, 60.0, 55.0]}))
    text = CODES.sub("", written[0])
    for number in (1, 2, 3):
        assert re.search(rf"epoch {number}/3 +{BAR}", text)
    assert re.search(rf"validation +{BAR}+[╸╺]{BAR}+ *1/2", text)
    assert re.search(r" 9/18 loss 0\.\d+ +best top1 50 \d:\d\d:\d\d \d:\d\d:\d\d left", text)
    assert "best top1 60" in text
    assert written[0].rindex(SHOW_CURSOR) > written[0].rindex(HIDE_CURSOR)


def test_log_lines_stay_whole_and_repeat_nothing(tmp_path, monkeypatch):
    with terminal(monkeypatch) as written:
        runner = run(bar_config(tmp_path))
    lines = [CODES.sub("", line) for line in re.split(r"[\r\n]+", written[0])]
    logged = [line for line in lines if "Epoch(val)" in line]
    assert len(logged) == 3
    assert all(re.fullmatch(r"\d.* - Epoch\(val\) .*accuracy/top1: [\d.]+.*", s) for s in logged)
    assert not any(BAR in line for line in logged)
    assert not any("Epoch(train)" in line or "Saving checkpoint" in line for line in lines)
    (log_file,) = Path(runner.log_dir).glob("*.log")
    log = log_file.read_text()
    assert "Epoch(train) [3][6/6]" in log
    assert "Saving checkpoint at 3 epochs" in log


def test_without_a_terminal_there_are_plain_log_lines(tmp_path, capfd):
    run(bar_config(tmp_path))
    out = capfd.readouterr().out
    assert BAR not in out
    assert HIDE_CURSOR not in out
    assert len(re.findall(r"Epoch\(train\) +\[\d\]\[[246]/6\].* eta: ", out)) == 9


def test_an_error_leaves_a_usable_terminal(tmp_path, monkeypatch):
    """In a process of its own, because only its end can show it."""
    script = (
        "import sys\n"
        "from tests.engine.test_progress_hook import bar_config\n"
        "from tests.engine.toy import run\n"
        "run(bar_config(sys.argv[1], **{'model.nan_at': 9}))\n"
    )
    with terminal(monkeypatch) as written:
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT)},
            stdout=sys.stdout,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert done.returncode == 1
    assert "the loss is no longer finite at iteration 9" in CODES.sub("", written[0])
    assert written[0].rindex(SHOW_CURSOR) > written[0].rindex(HIDE_CURSOR)


def test_test_runs_have_a_bar_of_their_own(tmp_path, monkeypatch):
    cfg = bar_config(tmp_path)
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    cfg.test_cfg = {}
    with terminal(monkeypatch) as written:
        toy_runner(cfg).test()
    assert re.search(rf"test +{BAR}+[╸╺]{BAR}+ *1/2", CODES.sub("", written[0]))
    assert SHOW_CURSOR in written[0]
