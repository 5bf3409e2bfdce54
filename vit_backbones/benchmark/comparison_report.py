"""A comparison for people: tables for the terminal and Markdown, JSON, a plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import Any

from rich.table import Table

from ..files import write_figure, write_json
from .comparison import Match, Result, Spread
from .contender import OURS
from .machine import thread_note
from .tables import markdown_table, short, terminal_table

HEADER = ["", "time, ms", "images/s", "speed", "limit", "MiB", "memory", "params"]
OUR_COLOUR, PEER_COLOUR, LIMIT_COLOUR = "#0072B2", "#999999", "#D55E00"  # Okabe and Ito


def title(match: Match) -> str:
    """What was compared."""
    settings = "".join(f", {name}={value}" for name, value in match.settings.items())
    levels = ", maps of all stages" if match.workload.maps else ""
    gflops = match.flops * match.workload.passes / 1e9
    return f"{match.model}{settings}, {match.workload}{levels}, {short(gflops)} GFLOPs an image"


def table(match: Match) -> tuple[str, list[str], list[list[str]]]:
    """Title, header, and a row for each contender that has figures, the fastest first."""
    entrants = [r for r in match.results if r.samples]
    entrants.sort(key=lambda r: r.seconds.middle)
    return title(match), HEADER, [_row(match, result) for result in entrants]


def _row(match: Match, result: Result) -> list[str]:
    share, memory = match.share_of_limit(result), match.memory_ratio(result)
    return [
        result.library,
        _spread(result.seconds, 1e3, short),
        short(match.images_per_second(result)),
        _spread(match.ratio(result), 1, "{:.2f}".format),
        f"{share.middle:.0%}" if share else "-",
        short(result.peak_bytes / 2**20) if result.peak_bytes is not None else "-",
        f"{memory:.2f}" if memory is not None else "-",
        f"{result.anatomy.params / 1e6:.2f} M",
    ]


def _spread(spread: Spread | None, factor: float, show: Callable[[float], str]) -> str:
    """'3.1 ±4%': the median, and half the distance between the quartiles."""
    if spread is None:
        return "-"
    half = (spread.high - spread.low) / 2 / spread.middle
    return show(spread.middle * factor) + (f" ±{half:.0%}" if half else "")


def remarks(match: Match) -> list[str]:
    """What else has to be said, a line each: the kernels of the attention, who is left out and why,
    and who isn't the same."""
    kernels: dict[str, list[str]] = {}
    for result in match.results:
        if result.samples:
            kernels.setdefault(result.anatomy.attention or "unknown", []).append(result.library)
    attention = "; ".join(f"{name}: {', '.join(users)}" for name, users in kernels.items())
    left_out = [f"{r.library} left out: {r.left_out}" for r in match.results if r.left_out]
    lines = [*([f"attention by {attention}"] if attention else []), *left_out]
    return [f"{match.model}, {match.workload.mode}: {r}" for r in [*lines, *match.mismatches()]]


def caption(rounds: int, machine: str, threads: int | None, packages: Mapping[str, str]) -> str:
    """What the columns are, and what they were measured on."""
    return (
        f"Median of {rounds} interleaved rounds ± half the distance between the quartiles. "
        "Speed: over the fastest peer's, round by round. Limit: share of what the machine can do, "
        "the time in which a large matrix product in the same rounds does the FLOPs of the "
        "definition (multiply-adds; a training step counts as three forward passes) over the time "
        "taken. MiB: peak memory of a step alone in its process, above weights, optimizer state "
        "and images. Memory: that over the least of the peers'. "
        f"{machine}{thread_note(threads)}, "
        + ", ".join(f"{name} {version}" for name, version in packages.items())
        + "."
    )


def terminal(match: Match) -> list[Table | str]:
    """A table, then remarks, a line each."""
    return [terminal_table(*table(match)), *remarks(match)]


def markdown(match: Match) -> str:
    """A heading and a table, then remarks."""
    heading, header, body = table(match)
    parts = [f"**{heading}**", markdown_table("", header, body)]
    if lines := remarks(match):
        parts.append("\n".join(f"- {line}" for line in lines))
    return "\n\n".join(parts) + "\n"


def as_dict(match: Match) -> dict[str, Any]:
    """Everything measured, each sample of it, and what follows from it."""

    def of(result: Result) -> dict[str, Any]:
        figures = dict(
            seconds=result.seconds,
            ratio_to_best_peer=match.ratio(result),
            share_of_limit=match.share_of_limit(result),
        )
        return dict(
            library=result.library,
            left_out=result.left_out,
            **(asdict(result.anatomy) if result.anatomy else {}),
            peak_bytes=result.peak_bytes,
            images_per_second=match.images_per_second(result) if result.samples else None,
            **{name: asdict(spread) if spread else None for name, spread in figures.items()},
            samples=result.samples,
        )

    best = match.best_peer
    return dict(
        model=match.model,
        settings={name: str(value) for name, value in match.settings.items()},
        workload=asdict(match.workload),
        flops=match.flops,
        best_peer=best.library if best else None,
        mismatches=match.mismatches(),
        limit=dict(flops=match.limit_flops, samples=match.limit_samples),
        contenders=[of(result) for result in match.results],
    )


def save_json(path: Path, matches: Sequence[Match], settings: Mapping[str, Any]) -> None:
    """All matches, with what they were measured on."""
    everything = dict(settings, matches=[as_dict(match) for match in matches])
    write_json(path, everything)


def save_plot(path: Path, matches: Sequence[Match], footer: str) -> None:
    """A panel for each match: a bar for each contender, its speed over the best peer's, with
    quartiles; the best peer at 1, and the limit."""
    from matplotlib.figure import Figure  # slow to import

    shown = [m for m in matches if any(r.samples for r in m.results)]
    bars = [sum(bool(r.samples) for r in m.results) for m in shown]
    height = 0.42 * sum(bars) + 1.15 * len(shown) + 0.8
    figure = Figure(figsize=(9, height), layout="constrained")
    figure.suptitle("Speed over the best peer's", fontweight="bold")
    panels = figure.subplots(len(shown), 1, squeeze=False, height_ratios=[n + 1.2 for n in bars])
    for axes, match in zip(panels[:, 0], shown):
        _panel(axes, match)
    figure.supxlabel(fill(footer, 130), fontsize=7, color="#555555")
    write_figure(path, figure, dpi=130)


def _panel(axes: Any, match: Match) -> None:
    entrants = sorted((r for r in match.results if r.samples), key=lambda r: -r.seconds.middle)
    # without a peer, ours alone is the measure
    ratios = [match.ratio(result) or Spread(1.0, 1.0, 1.0) for result in entrants]
    widths = [ratio.middle for ratio in ratios]
    axes.barh(
        [r.library for r in entrants],
        widths,
        xerr=[
            [r.middle - r.low for r in ratios],
            [r.high - r.middle for r in ratios],
        ],
        color=[OUR_COLOUR if r.library == OURS else PEER_COLOUR for r in entrants],
        error_kw=dict(ecolor="#333333", capsize=3, lw=1),
        height=0.7,
    )
    limit = match.limit_ratio()
    end = 1.25 * max(ratio.high for ratio in ratios)
    if limit is not None:
        end = max(end, min(1.1 * limit, 2 * end))
    for i, (result, ratio) in enumerate(zip(entrants, ratios)):
        seconds = result.seconds.middle
        time = f"{short(seconds)} s" if seconds >= 1 else f"{short(seconds * 1e3)} ms"
        x = ratio.high + 0.01 * end
        text = axes.text(x, i, f"{ratio.middle:.2f}   {time}", va="center", fontsize=9, zorder=4)
        text.set_bbox(dict(facecolor="white", edgecolor="none", alpha=0.8, pad=1))
    axes.axvline(1, color="#333333", lw=0.8, ls=":")
    if limit is not None:
        inside = limit < end
        if inside:
            axes.axvline(limit, color=LIMIT_COLOUR, lw=1.5)
        axes.annotate(
            f"limit {limit:.2f}" if inside else f"limit {limit:.2f} \u2192",
            (min(limit, end), 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            color=LIMIT_COLOUR,
            fontsize=8,
            ha="center" if inside else "right",
        )
    axes.set_title(fill(title(match), 100), fontsize=9, loc="left", pad=14)
    axes.set_xlim(0, end)
    axes.spines[["top", "right"]].set_visible(False)
