"""Publishing: a run's checkpoint as files for others."""

from __future__ import annotations

from argparse import Namespace

from rich.console import Console

from ..checkpoint.model_card import describe_scores
from ..checkpoint.publishing import publish
from .config import read_config


def run_publishing(args: Namespace) -> None:
    """Run ``tools/publish_model.py``.

    Raises:
        UserError: A file is missing, the checkpoint does not fit the config or holds NaN, or the
            folder exists.
    """
    cfg = read_config(args.config, args.cfg_options)
    done = publish(args.checkpoint, cfg, args.out, encoder_only=args.encoder, force=args.force)
    console = Console(markup=False, emoji=False)
    console.print(f"\nPublished in {done.folder}", style="bold", soft_wrap=True)
    for file in sorted(done.folder.iterdir()):
        console.print(f"  {file.name}  {file.stat().st_size / 1e6:.2f} MB", soft_wrap=True)
    weights = "moving average (EMA)" if done.record.averaged else "the checkpoint's own"
    console.print(f"Weights: {weights}", soft_wrap=True)
    scores = describe_scores(done.record.scores) or "not known: no log beside the checkpoint"
    console.print(f"Scores, {done.record.scores_from or 'of the run'}: {scores}", soft_wrap=True)
    console.print(
        f"Checked: {done.compared} output tensors of the files in fresh models, bit-equal to the "
        "checkpoint's",
        soft_wrap=True,
    )
