"""What a measurement was made on: processor or GPU, versions, what else was running."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import sys
from pathlib import Path

import torch

from ..errors import UserError

PACKAGES = {  # import name -> distributions that provide it, either of the two stacks
    "timm": ["timm"],
    "torchvision": ["torchvision"],
    "transformers": ["transformers"],
    "mmpretrain": ["onedl-mmpretrain", "mmpretrain"],
    "mmdet": ["onedl-mmdetection", "mmdet"],
}


def machine_name(device: str = "cpu") -> str:
    """Of the GPU, or of the processor."""
    if device != "cpu":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()


def versions() -> dict[str, str]:
    """Of Python, torch and whatever encoders of others are installed."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for name, distributions in PACKAGES.items():
        for distribution in distributions:
            try:
                found[name] = importlib.metadata.version(distribution)
                break
            except importlib.metadata.PackageNotFoundError:
                pass
    return found


def thread_note(threads: int | None) -> str:
    """', 2 threads' after the name of a processor; nothing for a GPU."""
    return f", {threads} thread{'s' if threads > 1 else ''}" if threads else ""


def load() -> float:
    """Programs that were running or waiting to, on average over the last minute; 0 where the
    system doesn't say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def busy_note(load_before: float) -> str:
    """A warning where other programs took a good part of the processor, or nothing."""
    cores = os.cpu_count() or 1
    if load_before <= cores / 2:
        return ""
    return (
        f"Other programs were using this machine (load {load_before:.1f} on {cores} cores): "
        "the times are longer than they need be."
    )


def free_gib() -> float:
    """Memory that is free for programs now, GiB; a guess of 4 where the system doesn't say."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return 4.0
    line = next(line for line in info.read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) / 2**20


def command_line(tool: str) -> str:
    """The command that reproduces this run."""
    return shlex.join(["python", f"tools/{tool}.py", *sys.argv[1:]])


def check_outputs(json: Path | None, plot: Path | None) -> None:
    """Find out before the work, not after it, that its results can't be written.

    Raises:
        UserError: The folder of a file does not exist, it is itself a folder, or no .png.
    """
    for path in (json, plot):
        if path is not None and not path.parent.is_dir():
            raise UserError(f"{path} can't be written: there is no folder {path.parent}")
        if path is not None and path.is_dir():
            raise UserError(f"{path} is a folder; give the name of a file")
    if plot is not None and plot.suffix.lower() != ".png":
        raise UserError(f"--plot {plot}: the picture is a PNG; give a name that ends in .png")
