"""How each kind of attention grows with the sequence: measures, prints and saves."""

from __future__ import annotations

from argparse import Namespace

import torch
from rich.console import Console

from ..benchmark.attention import check_tokens, parse_kind
from ..benchmark.machine import (
    busy_note,
    check_outputs,
    command_line,
    load,
    machine_name,
    thread_note,
)
from ..benchmark.rounds import progress_bar
from ..benchmark.scaling import Budget, sweep
from ..benchmark.scaling_report import markdown, reasons, save_json, save_plot, terminal_tables
from ..errors import UserError


def study(args: Namespace) -> None:
    """Run ``tools/attention_scaling.py``.

    Raises:
        UserError: A kind, option or size that can't work; a file that can't be written.
    """
    check_outputs(args.json, args.plot)
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
    load_before = load()
    with progress_bar(console=notes, transient=True) as progress:
        curves = sweep(layers, tokens, args.rounds, budget, progress)
    if warning := busy_note(load_before):
        notes.print(warning)

    fit_from = args.fit_from if args.fit_from is not None else tokens[len(tokens) // 4]
    caption = (
        f"One attention layer, {'forward and backward' if args.backward else 'forward'}, "
        f"dim {args.dim}, {args.heads} heads, batch {args.batch}, float32, square grids; "
        f"median of {args.rounds} interleaved rounds, peak memory of each run in its own process "
        "above weights and input; exponents from "
        f"{fit_from:,} tokens up. {machine_name()}{thread_note(threads)}, "
        f"torch {torch.__version__}."
    )
    command = command_line("attention_scaling")
    if args.markdown:
        print(markdown(curves, fit_from, f"{caption} Made by `{command}`.", stated=stated))
    else:
        for table in terminal_tables(curves, fit_from, stated=stated):
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
