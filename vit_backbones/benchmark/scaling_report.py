"""A scaling sweep for people: tables for the terminal and Markdown, JSON, a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from .scaling import Curve, Point

# figure of a Point -> title, factor to its unit
FIGURES = {"seconds": ("Time, ms", 1e3), "peak_bytes": ("Peak memory, MiB", 2**-20)}
# distinct for colour-blind readers, too (Okabe and Ito)
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#999999")
MARKERS = "osD^vP*X"


def rows(
    curves: Sequence[Curve], stated: Mapping[str, str], figure: str, fit_from: int
) -> tuple[list[str], list[list[str]]]:
    """Header and one row of text per contender: its values, the exponent from ``fit_from`` up, and
    for the time the growth that its definition promises."""
    header = ["", *(f"{p.size:,}" for p in curves[0].points), "exponent"]
    if figure == "seconds":
        header.append("definition")
    body = []
    for curve in curves:
        exponent = curve.exponent(figure, fit_from)
        values = [_value(point, figure) for point in curve.points]
        end = "-" if exponent is None else f"{exponent:.2f}"
        row = [curve.label, *values, end, stated[curve.label]]
        body.append(row[: len(header)])
    return header, body


def _value(point: Point, figure: str) -> str:
    value = getattr(point, figure)
    if value is None:
        return "not run"
    value *= FIGURES[figure][1]
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def reasons(curves: Sequence[Curve]) -> list[str]:
    """Why sizes were not run, a line each."""
    return [
        f"{curve.label} at {point.size:,}: not run, {point.not_run}"
        for curve in curves
        for point in curve.points
        if point.not_run
    ]


def terminal_tables(
    curves: Sequence[Curve], stated: Mapping[str, str], fit_from: int
) -> list[Table]:
    tables = []
    for figure, (title, _) in FIGURES.items():
        header, body = rows(curves, stated, figure, fit_from)
        table = Table(title=title, title_justify="left")
        for i, name in enumerate(header):
            table.add_column(name, justify="right" if i else "left")
        for row in body:
            table.add_row(*row)
        tables.append(table)
    return tables


def markdown(
    curves: Sequence[Curve], stated: Mapping[str, str], fit_from: int, caption: str
) -> str:
    """Both tables, then ``caption``."""
    parts = []
    for figure, (title, _) in FIGURES.items():
        header, body = rows(curves, stated, figure, fit_from)
        header[0] = title
        rule = ["---"] + ["---:"] * (len(header) - 1)
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *body]))
    return "\n\n".join([*parts, caption]) + "\n"


def save_json(
    path: Path, curves: Sequence[Curve], fit_from: int, settings: Mapping[str, Any]
) -> None:
    """Everything measured, each round of it, with the settings."""
    contenders = [
        dict(
            label=curve.label,
            exponents={figure: curve.exponent(figure, fit_from) for figure in FIGURES},
            points=[dict(vars(point), seconds=point.seconds) for point in curve.points],
        )
        for curve in curves
    ]
    path.write_text(json.dumps(dict(settings, contenders=contenders), indent=1) + "\n")


def save_plot(
    path: Path, curves: Sequence[Curve], fit_from: int, title: str, size_name: str
) -> None:
    """Time and memory over the size, on logarithmic axes, with the exponents in the legends."""
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(12, 5.5), layout="constrained")
    figure.suptitle(title)
    for axes, (name, (label, factor)) in zip(figure.subplots(1, 2), FIGURES.items()):
        for i, curve in enumerate(curves):
            sizes, values = curve.measured(name)
            exponent = curve.exponent(name, fit_from)
            growth = "" if exponent is None else f"  n^{exponent:.2f}"
            axes.loglog(
                sizes,
                [value * factor for value in values],
                color=COLOURS[i % len(COLOURS)],
                marker=MARKERS[i % len(MARKERS)],
                label=f"{curve.label}{growth}",
            )
        ticks = [point.size for point in curves[0].points]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], minor=False)
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.set(xlabel=size_name, ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
