"""``python -m vit_backbones.compat``: what is installed, what was repaired, what is missing.

Exits with status 0 only where the installation is usable: one stack, and all of it can be imported.
"""

from __future__ import annotations

import contextlib
import io
import platform
import sys
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import REPAIRS, State, mmcv_ops, repair
from .inventory import FOUNDATION, LIBRARIES, how_to_compile_mmcv, remedy, take_inventory

COLOURS = {State.APPLIED: "green", State.WAITING: "yellow"}


@dataclass
class Check:
    """One line of the report: ``problem`` makes the installation unusable, ``missing`` does not."""

    name: str
    installed: str
    note: str = ""
    missing: str = ""
    problem: str = ""


def check_import(name: str, module: str, installed: str) -> Check:
    """Import ``module``, silently, and say what went wrong and what to do."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            import_module(module)
    except Exception as error:  # whatever a broken installation raises belongs into the report
        reason = f"import {module} fails with {type(error).__name__}: {error}"
        return Check(name, installed, problem=f"{reason} {remedy(error)}".strip())
    return Check(name, installed)


def check_torch() -> list[Check]:
    import torch

    if torch.cuda.is_available():
        device = f"CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}"
    elif torch.version.cuda:
        device = f"built for CUDA {torch.version.cuda}; no usable GPU here, so the CPU computes"
    else:
        device = "CPU build"
    vision = check_import("torchvision", "torchvision.ops", "")
    if not vision.problem:
        vision.installed = sys.modules["torchvision"].__version__
    return [Check("torch", torch.__version__, device), vision]


def check_libraries() -> list[Check]:
    inventory = take_inventory()
    checks = []
    for name in (*FOUNDATION, *LIBRARIES):
        found = ", ".join(f"{dist} {version}" for dist, version in inventory.found[name].items())
        if found:
            checks.append(
                check_import(name, f"{name}.models" if name in LIBRARIES else name, found)
            )
        else:
            checks.append(Check(name, "-", missing=inventory.install(name)))
    stack = " and ".join(inventory.stacks) or "none"
    return [*checks, Check("stack", stack, problem=inventory.problem)]


def check_mmcv_ops() -> Check:
    check = check_import("mmcv ops", "mmcv._ext", "compiled")
    ops = sys.modules.get("mmcv._ext")
    if ops is not None and Path(ops.__file__) == mmcv_ops.STAND_IN:
        check.installed = "stand-in"
        check.note = ", ".join(mmcv_ops.STANDS_IN_FOR)
        check.missing = f"all other ops need a C++ compiler: {how_to_compile_mmcv()}"
    return check


def main() -> int:
    console = Console(highlight=False)
    repair()
    with console.status("importing mmpretrain, mmdet and mmseg"):
        checks = [Check("Python", platform.python_version()), *check_torch(), *check_libraries()]
        checks.append(check_mmcv_ops())

    installed = Table(title="What is installed", title_justify="left", show_header=False)
    for check in checks:
        note = "[red]broken[/]" if check.problem else check.note
        installed.add_row(check.name, check.installed, note)
    console.print(installed)

    repairs = Table(title="What was repaired", title_justify="left", show_header=False)
    for item in REPAIRS:
        state = f"[{COLOURS.get(item.state, 'dim')}]{item.state.value}[/]"
        repairs.add_row(item.name, state, f"{item.detail}\n[dim]why: {item.why}[/]")
    console.print(repairs)

    for check in checks:
        if check.missing:
            line = f"[yellow]not there[/]  {check.name}: {escape(check.missing)}"
            console.print(line, soft_wrap=True)
    problems = [check for check in checks if check.problem]
    for check in problems:
        console.print(f"[red]broken[/]  {check.name}: {escape(check.problem)}", soft_wrap=True)
    console.print("[red]Not usable.[/]" if problems else "[green]Usable.[/]")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
