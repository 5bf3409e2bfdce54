"""The last lines of a run: how good, where, and how to try it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from ..datasets.channels import starts_from_rgb
from ..registry import HOOKS
from .convergence_plot_hook import ConvergencePlotHook, best_row, history, watched_metrics
from .unwrapped import unwrapped


@HOOKS.register_module()
class SummaryHook(Hook):
    """Prints best score and epoch, checkpoint, plot, and a command that tries the model on an
    image.

    The image is one of the validation set. Where that holds pixels in place of files, one is
    written to ``<work_dir>/example.png``.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self._trained = False

    def after_train(self, runner: Runner) -> None:
        self._trained = True

    @master_only
    def after_run(self, runner: Runner) -> None:
        if self._trained:
            print("\n" + "\n".join(summary(runner)), flush=True)


def summary(runner: Runner) -> list[str]:
    info, rows = runner.message_hub.runtime_info, history(runner)
    metrics = watched_metrics(runner)
    lines = []
    checkpoint = info.get("last_ckpt")
    for name, is_better in metrics.items():
        several = len(metrics) > 1
        checkpoint = info.get(f"best_ckpt_{name}" if several else "best_ckpt", checkpoint)
        best = best_row(rows, name, is_better)
        if best is not None:
            lines.append(f"Best {name}: {best[name]:.4g} at {progress(runner, best)}")
    if runner.iter < runner.max_iters:
        now = dict(epoch=runner.epoch, iter=runner.iter)
        lines.append(f"Stopped early, after {progress(runner, now)}")
    if checkpoint:
        lines.append(f"Checkpoint: {_short(checkpoint)}")
    plot = Path(runner.work_dir, ConvergencePlotHook.filename)
    if plot.exists():
        lines.append(f"Plot: {_short(plot)}")
    if checkpoint:
        lines += next_command(runner, checkpoint)
    return lines


def progress(runner: Runner, row: dict[str, float]) -> str:
    """'epoch 12 of 40', or 'iteration 800 of 2000' where the loop counts these."""
    if runner.max_epochs > 1:
        return f"epoch {row['epoch']:.4g} of {runner.max_epochs}"
    return f"iteration {row['iter']} of {runner.max_iters}"


def next_command(runner: Runner, checkpoint: str | Path) -> list[str]:
    """What to do next, and the line for the shell that does it, to be run in the current folder."""
    scope = runner.cfg.get("default_scope", "mmpretrain")
    predicts = scope in ("mmpretrain", "mmdet", "mmseg")
    script = Path(sys.argv[0]).with_name("predict.py" if predicts else "test.py")
    if not script.exists():
        script = Path("tools", script.name)
    name = Path(runner.cfg.filename).name if runner.cfg.filename else f"{runner.timestamp}.py"
    config = Path(runner.work_dir, name)  # as the run used it, command-line changes included
    words = [_python(), _short(script), _short(config), _short(checkpoint)]
    if not predicts:
        return ["Evaluate it:", shlex.join(words)]
    dataset = runner.val_dataloader.dataset if runner.val_loop else None
    image = example_image(dataset, runner.work_dir, _holds_rgb(runner))
    words.append(_short(image) if image else "IMAGE")
    if scope != "mmpretrain":  # where things are is better seen than read
        words += ["--out", _short(Path(runner.work_dir, "pictures"))]
    return ["Try it on an image:", shlex.join(words)]


def example_image(dataset: Dataset | None, work_dir: str | Path, rgb: bool = False) -> Path | None:
    """A file with the first image of ``dataset``, whose pixels are RGB or else BGR."""
    try:
        sample = dataset.get_data_info(0)
    except (AttributeError, IndexError):
        return None
    if "img_path" in sample:
        return Path(sample["img_path"])
    pixels = sample.get("img")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        return None
    import mmcv

    path = Path(work_dir, "example.png")
    mmcv.imwrite(pixels[..., ::-1] if rgb else pixels, str(path))
    return path


def _holds_rgb(runner: Runner) -> bool:
    model = unwrapped(runner.model)
    loader = runner.cfg.get("val_dataloader") or {}
    pipeline = loader.get("dataset", {}).get("pipeline", ())
    preprocessor = getattr(model, "data_preprocessor", None)
    return starts_from_rgb(pipeline, getattr(preprocessor, "to_rgb", False))


def _python() -> str:
    """What starts this Python: ``python`` where that is it."""
    found = shutil.which("python")
    if found and os.path.samefile(found, sys.executable):
        return "python"
    return _short(sys.executable)


def _short(path: str | Path) -> str:
    """``path`` relative to the current folder where it lies in it."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
