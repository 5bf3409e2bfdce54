"""Testing: the scores of a checkpoint on a config's test set."""

from __future__ import annotations

import pickle
from argparse import Namespace
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from rich.console import Console
from rich.table import Table

from ..datasets.on_disk import check_data, leaf_datasets, set_data_root
from ..engine import unwrapped
from ..errors import UserError
from ..files import make_folder, write_atomically, write_json
from .config import choose_work_dir, read_config
from .counts import check_counts
from .training import build_runner, set_loader_defaults
from .weights import check_fit, read_model


def test(args: Namespace) -> dict[str, float]:
    """Run ``tools/test.py``: test, print a table of the scores, write what ``--out`` asks for.

    Raises:
        UserError: A file, a folder or the data set is missing, or the checkpoint does not fit.
    """
    cfg = testing_config(args)
    weights, _ = read_model(args.checkpoint)
    runner = build_runner(cfg)
    check_fit(unwrapped(runner.model), weights, args.checkpoint)
    out = Path(args.out) if args.out else None
    if out:
        make_folder(out.parent)  # now, not after the test
    if out and out.suffix == ".pkl":
        predictions = Predictions()
        runner.test_evaluator.metrics.append(predictions)
    scores = runner.test()
    if is_main_process():
        print_scores(scores, args.checkpoint)
        if out and out.suffix == ".json":
            write_json(out, scores)
        elif out:
            write_atomically(out, pickle.dumps(predictions.whole))
    return scores


test.__test__ = False  # not a test of pytest's


class Predictions(DumpResults):
    """mmengine's collector of what a model predicted, for a file that is whole or not there."""

    def __init__(self) -> None:
        super().__init__("predictions.pkl")  # which it does not write

    def compute_metrics(self, results: list) -> dict:
        self.whole = results
        return {}


def testing_config(args: Namespace) -> Config:
    """The config that ``tools/test.py`` runs, with all checked that needs no model."""
    cfg = read_config(args.config, args.cfg_options)
    choose_work_dir(cfg, args.work_dir)
    cfg.launcher = args.launcher
    for key in ("strategy", "runner_type"):  # how it was trained; a test runs as any other
        cfg.pop(key, None)
    if args.out and Path(args.out).suffix not in (".json", ".pkl"):
        raise UserError(f"--out: {args.out} must end in .json (scores) or .pkl (predictions)")
    if not cfg.get("test_dataloader"):
        raise UserError(f"{cfg.filename} has no test_dataloader")
    check_counts(cfg)
    if args.data_root:
        set_data_root(cfg, args.data_root)
    if args.tta:
        set_tta(cfg)
    cfg.load_from, cfg.resume = args.checkpoint, False
    set_loader_defaults(cfg)
    check_data(cfg, ("test",))
    return cfg


def set_tta(cfg: Config) -> None:
    """``--tta``: test on several versions of each image and merge what comes out, as the config's
    ``tta_model`` and ``tta_pipeline`` say.

    Raises:
        UserError: It has none.
    """
    lacking = [key for key in ("tta_model", "tta_pipeline") if not cfg.get(key)]
    if lacking:
        raise UserError(
            f"--tta: {cfg.filename} has no {' and no '.join(lacking)}, which say how test images "
            "are varied and the predictions merged"
        )
    cfg.model = dict(**cfg.tta_model, module=cfg.model)
    for dataset in leaf_datasets(cfg.test_dataloader):
        dataset.pipeline = cfg.tta_pipeline


def print_scores(scores: dict[str, float], checkpoint: str) -> None:
    console, table = Console(markup=False, emoji=False), Table()
    table.add_column("score")
    table.add_column("value", justify="right")
    for name, value in scores.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, int | float) else str(value))
    console.print(f"\nScores of {checkpoint}", soft_wrap=True)
    console.print(table)
