"""``python -m vit_backbones.compat``: everything in one page, and an honest exit status."""

import os
import subprocess
import sys

import pytest

from vit_backbones.compat import __main__ as report
from vit_backbones.compat.repair import Repair, State


def test_this_installation_is_usable():
    done = subprocess.run(
        [sys.executable, "-m", "vit_backbones.compat"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("torch", "mmengine", "stack", "mmcv without compiled ops", "Usable."):
        assert words in done.stdout


@pytest.fixture
def checks(monkeypatch, capsys):
    """Run the report on given checks; return its exit status and its text."""

    def run(*checks):
        monkeypatch.setattr(report, "REPAIRS", [Repair("r", "w", lambda r: None, State.APPLIED)])
        monkeypatch.setattr(report, "check_torch", lambda: [])
        monkeypatch.setattr(report, "check_libraries", lambda: list(checks))
        monkeypatch.setattr(report, "check_mmcv_ops", lambda: report.Check("mmcv ops", "compiled"))
        return report.main(), capsys.readouterr().out

    return run


def test_what_is_missing_does_not_make_it_unusable(checks):
    status, text = checks(report.Check("mmdet", "-", missing="pip install 'x[onedl]'"))
    assert status == 0
    assert "mmdet: pip install 'x[onedl]'" in text


def test_a_problem_is_shown_whole_and_makes_it_unusable(checks):
    problem = "There are two stacks " + "and what to do " * 20
    status, text = checks(report.Check("stack", "onedl and openmmlab", problem=problem))
    assert status == 1
    assert problem.strip() in text
    assert "Not usable." in text


def test_an_import_that_fails_is_a_problem_with_its_remedy():
    check = report.check_import("ftfy", "a_module_that_is_nowhere", "1.0")
    assert "ModuleNotFoundError" in check.problem
    assert "pip install a_module_that_is_nowhere" in check.problem


def test_without_mmengine_one_line_says_what_to_install(tmp_path):
    (tmp_path / "mmengine.py").write_text("raise ImportError('hidden', name='mmengine')")
    done = subprocess.run(
        [sys.executable, "-m", "vit_backbones.compat"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "hidden" in done.stderr
