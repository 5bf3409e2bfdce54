"""A scaling sweep for people: tables for the terminal and Markdown, JSON, a plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from ..files import write_figure, write_json
from .scaling import Curve, Point
from .tables import markdown_table, short, terminal_table

# figure of a Point -> title, factor to its unit
FIGURES = {"seconds": ("Time, ms", 1e3), "peak_bytes": ("Peak memory, MiB", 2**-20)}
# distinct for colour-blind readers, too (Okabe and Ito)
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#999999")
MARKERS = "osD^vP*X"


def tables(
    curves: Sequence[Curve],
    fit_from: int,
    stated: Mapping[str, str] | None = None,
    size_name: Callable[[int], str] = "{:,}".format,
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows for each figure. A row is a contender's: its values, the exponent from
    ``fit_from`` up, and for the time the growth that its definition promises, where ``stated``."""
    found = []
    for figure, (title, _) in FIGURES.items():
        header = ["", *(size_name(p.size) for p in curves[0].points), "exponent"]
        has_definition = figure == "seconds" and stated is not None
        body = []
        for curve in curves:
            exponent = curve.exponent(figure, fit_from)
            values = [_value(point, figure) for point in curve.points]
            row = [curve.label, *values, "-" if exponent is None else f"{exponent:.2f}"]
            body.append([*row, stated[curve.label]] if has_definition else row)
        found.append((title, [*header, "definition"] if has_definition else header, body))
    return found


def _value(point: Point, figure: str) -> str:
    value = getattr(point, figure)
    return "not run" if value is None else short(value * FIGURES[figure][1])


def reasons(curves: Sequence[Curve], size_name: Callable[[int], str] = "{:,}".format) -> list[str]:
    """Why sizes were not run, a line each."""
    return [
        f"{curve.label} at {size_name(point.size)}: not run, {point.not_run}"
        for curve in curves
        for point in curve.points
        if point.not_run
    ]


def terminal_tables(curves: Sequence[Curve], fit_from: int, **options: Any) -> list[Table]:
    """``options``: those of :func:`tables`."""
    return [terminal_table(*table) for table in tables(curves, fit_from, **options)]


def markdown(curves: Sequence[Curve], fit_from: int, caption: str, **options: Any) -> str:
    """Both tables, then ``caption``. ``options``: those of :func:`tables`."""
    parts = [markdown_table(*table) for table in tables(curves, fit_from, **options)]
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
    write_json(path, dict(settings, contenders=contenders))


def save_plot(
    path: Path,
    curves: Sequence[Curve],
    fit_from: int,
    title: str,
    size_label: str,
    size_name: Callable[[int], str] = "{:,}".format,
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
        axes.set_xticks(ticks, [size_name(tick) for tick in ticks], minor=False)
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.set(xlabel=size_label, ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend()
    write_figure(path, figure, dpi=120)
