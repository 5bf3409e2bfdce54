"""Ours against others' implementations of the same encoders: measures, prints and saves."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from math import isqrt
from typing import Any

import torch
from rich.console import Console

from ..arguments import to_pair
from ..backbones.presets import build_backbone
from ..benchmark import comparison_report, scaling_report
from ..benchmark.comparison import compare, prepare_match
from ..benchmark.contender import OURS, Contender
from ..benchmark.machine import (
    busy_note,
    check_outputs,
    command_line,
    load,
    machine_name,
    thread_note,
    versions,
)
from ..benchmark.peer import NotOffered
from ..benchmark.rounds import progress_bar
from ..benchmark.scaling import Budget, sweep
from ..benchmark.workload import MODES, Workload
from ..errors import UserError
from .model_info import parse_setting


def benchmark(args: Namespace) -> None:
    """Run ``tools/benchmark.py``.

    Raises:
        UserError: A model, setting, size or device that can't work; a file that can't be
            written.
    """
    check_arguments(args)
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = dict(parse_setting(word) for word in args.settings)
    archs = {name: arch_of(name, settings) for name in args.models}
    about = dict(
        command=command_line("benchmark"),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=machine_name(args.device),
        threads=torch.get_num_threads() if args.device == "cpu" else None,
        load_before=load(),
        versions=versions(),
        rounds=args.rounds,
    )
    (scale if args.scaling else match)(args, settings, archs, about)


def check_arguments(args: Namespace) -> None:
    check_outputs(args.json, args.plot)
    for name in ("rounds", "batch", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} must be 1 or more, not {value}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU here")


def arch_of(name: str, settings: Mapping[str, Any]) -> Any:
    """The architecture of the preset with these settings.

    Raises:
        UserError: No such preset or setting, or one that the benchmark sets itself.
    """
    for taken in ("arch", "name", "out_type", "out_indices"):
        if taken in settings:
            raise UserError(f"--settings {taken}: the benchmark sets it, the same for all")
    with torch.device("meta"):
        return build_backbone(name, **settings).arch


def workload_of(args: Namespace, mode: str, size: tuple[int, int], arch: Any) -> Workload:
    own_size = size == to_pair(arch.img_size, "img_size")
    wants_maps = args.maps == "all" or (args.maps is None and not own_size)
    return Workload(
        mode=mode,
        size=size,
        batch=args.batch,
        channels=arch.in_channels,
        dtype=args.dtype,
        device=args.device,
        maps=wants_maps and hasattr(arch, "depths"),  # a plain ViT has one
        compile=args.compile,
        channels_last=args.channels_last,
        threads=args.threads,
    )


def match(args: Namespace, settings: Mapping, archs: Mapping, about: dict[str, Any]) -> None:
    """Each model and mode at one size, all libraries."""
    console, notes = Console(), Console(stderr=True)
    matches = []
    with progress_bar(console=notes, transient=True) as progress:
        total = len(args.models) * len(args.mode)
        task = progress.add_task("looking at each", total=total, what="")
        for name, arch in archs.items():
            size = to_pair(args.size or arch.img_size, "--size")
            for mode in args.mode:
                progress.update(task, what=f"{name}, {MODES[mode]}")
                workload = workload_of(args, mode, size, arch)
                matches.append(prepare_match(name, workload, args.peers, settings))
                progress.advance(task)
        progress.remove_task(task)
        for number, finished in enumerate(compare(matches, args.rounds, progress), start=1):
            # at once, and not at the end: it can take hours until then, or never come
            progress.stop()
            if args.markdown:
                print(comparison_report.markdown(finished), flush=True)
            else:
                for part in comparison_report.terminal(finished):
                    console.print(part, highlight=False)
            if args.json:
                comparison_report.save_json(args.json, matches[:number], about)
            progress.start()

    caption = comparison_report.caption(
        args.rounds, about["machine"], about["threads"], about["versions"]
    )
    if args.markdown:
        print(f"{caption} Made by `{about['command']}`.")
    else:
        console.print(caption, highlight=False)
    if args.plot:
        footer = f"{about['machine']}, torch {about['versions']['torch']}, {about['command']}"
        comparison_report.save_plot(args.plot, matches, footer)
    if warning := busy_note(about["load_before"]):
        notes.print(warning)


def scale(args: Namespace, settings: Mapping, archs: Mapping, about: dict[str, Any]) -> None:
    """Each model over square images of growing size, ours and, as far as they were asked for, the
    others'."""
    console, notes = Console(), Console(stderr=True)
    sides = sorted(set(args.scaling))
    if sides[0] < 1:
        raise UserError(f"--scaling {sides[0]}: a side has 1 pixel or more")
    pixels = [side * side for side in sides]
    fit_from = (args.fit_from or sides[len(sides) // 4]) ** 2
    contenders = {}
    for name, arch in archs.items():
        for mode in args.mode:
            for library in (OURS, *args.peers):
                # what is put out doesn't change from size to size
                workload = workload_of(args, mode, (sides[0],) * 2, arch)
                contender = Contender(name, workload, library, settings)
                try:
                    contender.build()
                except NotOffered as error:
                    notes.print(f"{name}, {mode}: {library} left out: {error}", highlight=False)
                    continue
                label = " ".join([name, mode, *([library] if library != OURS else [])])
                contenders[label] = contender
    budget = Budget(args.max_seconds, args.max_gib * 2**30)
    with progress_bar(console=notes, transient=True) as progress:
        curves = sweep(contenders, pixels, args.rounds, budget, progress, args.device)

    lengths = [sequence_lengths(name, settings, sides) for name in args.models]
    caption = (
        f"Square images, batch {args.batch}, {args.dtype}; median of {args.rounds} interleaved "
        "rounds, peak memory of a step alone in its process above weights, optimizer state and "
        "images. Exponents are in the number of pixels (and so of tokens), from "
        f"{isqrt(fit_from)}x{isqrt(fit_from)} up. Tokens: {'; '.join(lengths)}. "
        f"{about['machine']}{thread_note(about['threads'])}, torch {about['versions']['torch']}."
    )
    if args.markdown:
        made_by = f"{caption} Made by `{about['command']}`."
        print(scaling_report.markdown(curves, fit_from, made_by, size_name=size_name))
    else:
        for table in scaling_report.terminal_tables(curves, fit_from, size_name=size_name):
            console.print(table)
        console.print(caption, highlight=False)
    for line in scaling_report.reasons(curves, size_name):
        notes.print(line, highlight=False)
    if args.json:
        scaling_report.save_json(args.json, curves, fit_from, dict(about, caption=caption))
    if args.plot:
        title = f"Batch {args.batch}, {args.dtype}, {about['machine']}"
        label = "pixels of a square image"
        scaling_report.save_plot(args.plot, curves, fit_from, title, label, size_name)
    if warning := busy_note(about["load_before"]):
        notes.print(warning)


def size_name(pixels: int) -> str:
    return f"{isqrt(pixels)}²"


def sequence_lengths(name: str, settings: Mapping[str, Any], sides: Sequence[int]) -> str:
    """The patches that an encoder begins with, for each size."""
    with torch.device("meta"):
        grids = [build_backbone(name, **{**settings, "img_size": s}).arch.grid for s in sides]
    return f"{name} {', '.join(f'{height * width:,}' for height, width in grids)}"
