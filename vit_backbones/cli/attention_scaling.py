"""How each kind of attention grows with the sequence: measures, prints and saves."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from argparse import Namespace
from pathlib import Path

import torch
from rich.console import Console

from ..benchmark.attention import check_tokens, parse_kind
from ..benchmark.scaling import Budget, progress_bar, sweep
from ..benchmark.scaling_report import markdown, reasons, save_json, save_plot, terminal_tables
from ..errors import UserError


def study(args: Namespace) -> None:
    """Run ``tools/attention_scaling.py``.

    Raises:
        UserError: A kind, option or size that can't work; a folder that does not exist.
    """
    for path in (args.json, args.plot):
        if path is not None and not path.parent.is_dir():
            raise UserError(f"{path} can't be written: there is no folder {path.parent}")
    if args.rounds < 1 or args.batch < 1:
        raise UserError("--rounds and --batch must be 1 or more")
    tokens = check_tokens(args.tokens)
    threads = args.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    settings = dict(dim=args.dim, num_heads=args.heads, batch=args.batch)
    layers = {
        word: parse_kind(word, **settings, backward=args.backward, threads=threads)
        for word in args.kinds
    }
    stated = {word: layer.stated for word, layer in layers.items()}

    console, notes = Console(), Console(stderr=True)
    budget = Budget(args.max_seconds, args.max_gib * 2**30)
    load_before = _load()
    with progress_bar(console=notes, transient=True) as progress:
        curves = sweep(layers, tokens, args.rounds, budget, progress)
    cores = os.cpu_count() or 1
    if load_before > cores / 2:
        notes.print(
            f"Other programs were using this machine (load {load_before:.1f} on {cores} cores): "
            "the times are longer than they need be."
        )

    fit_from = args.fit_from if args.fit_from is not None else tokens[len(tokens) // 4]
    caption = (
        f"One attention layer, {'forward and backward' if args.backward else 'forward'}, "
        f"dim {args.dim}, {args.heads} heads, batch {args.batch}, float32, square grids; "
        f"median of {args.rounds} interleaved rounds, peak memory of each run in its own process "
        "above weights and input; exponents from "
        f"{fit_from:,} tokens up. {_machine()}, {threads} thread{'s' if threads > 1 else ''}, "
        f"torch {torch.__version__}."
    )
    command = shlex.join(["python", "tools/attention_scaling.py", *sys.argv[1:]])
    if args.markdown:
        print(markdown(curves, stated, fit_from, f"{caption} Made by `{command}`."))
    else:
        for table in terminal_tables(curves, stated, fit_from):
            console.print(table)
        console.print(caption)
    for line in reasons(curves):
        notes.print(line)
    if args.json:
        save_json(args.json, curves, fit_from, dict(command=command, caption=caption))
    if args.plot:
        direction = "forward and backward" if args.backward else "forward"
        title = f"One attention layer, {direction}: dim {args.dim}, {args.heads} heads"
        save_plot(args.plot, curves, fit_from, title, "tokens")


def free_gib() -> float:
    """Memory that is free for programs now, GiB; a guess of 4 where the system doesn't say."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return 4.0
    line = next(line for line in info.read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) / 2**20


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()
