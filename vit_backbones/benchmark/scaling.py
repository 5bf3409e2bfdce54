"""How time and memory grow with the size of the problem: sweeps over sizes, and exponents."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import linear_regression, median

from rich.progress import Progress

from .memory import Usage, measure_alone
from .rounds import OUT_OF_MEMORY, SAMPLE_SECONDS, Step, take_turns, timer_for


@dataclass(frozen=True)
class Budget:
    """What one run of one size may take; a size that would take more is not run."""

    seconds: float
    bytes: float


@dataclass
class Point:
    """One contender at one size.

    Attributes:
        size: E.g. tokens.
        samples: Seconds of one step in each round.
        peak_bytes: Peak memory of a step in its own process, above weights and input.
        not_run: Why there are no figures, or empty.
    """

    size: int
    samples: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    not_run: str = ""

    @property
    def seconds(self) -> float | None:
        return median(self.samples) if self.samples else None


@dataclass
class Curve:
    """One contender over all sizes."""

    label: str
    points: list[Point]

    def measured(self, figure: str) -> tuple[list[int], list[float]]:
        """Sizes and values of 'seconds' or 'peak_bytes', as far as they were measured."""
        pairs = [(p.size, getattr(p, figure)) for p in self.points if getattr(p, figure)]
        return [size for size, _ in pairs], [value for _, value in pairs]

    def exponent(self, figure: str, smallest: int = 0) -> float | None:
        """Of ``figure`` in the size, from size ``smallest`` up; None with fewer than two points."""
        pairs = [(s, v) for s, v in zip(*self.measured(figure)) if s >= smallest]
        return fit_exponent(*zip(*pairs)) if len(pairs) > 1 else None


def fit_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """b of values = a * sizes^b: the slope of the least-squares line through the logarithms."""
    return linear_regression([math.log(s) for s in sizes], [math.log(v) for v in values]).slope


def predict(sizes: Sequence[float], values: Sequence[float], size: float) -> float:
    """The value at a larger size, from those at the last two; from a single one as if it grew with
    the square. Growth slower than linear, as of small sizes, is not trusted."""
    growth = 2.0 if len(sizes) < 2 else max(1.0, fit_exponent(sizes[-2:], values[-2:]))
    return values[-1] * (size / sizes[-1]) ** growth


def sweep(
    contenders: Mapping[str, Callable[[int], Step]],
    sizes: Sequence[int],
    rounds: int,
    budget: Budget,
    progress: Progress,
    device: str = "cpu",
) -> list[Curve]:
    """Peak memory of each contender at each size in a process of its own; then, in this process,
    ``rounds`` of timing in each of which all take turns (:func:`take_turns`).

    Args:
        contenders: Label -> function that prepares a step of a size; it must pickle.
        sizes: Ascending.
        progress: Started by the caller, see :func:`progress_bar`.
        device: 'cpu' or 'cuda'.
    """
    curves = [Curve(label, [Point(size) for size in sizes]) for label in contenders]
    seconds: dict[tuple[str, int], float] = {}  # of the first run
    task = progress.add_task("memory", total=sum(sizes) * len(curves), what="")
    for i, size in enumerate(sizes):
        for curve in curves:
            progress.update(task, what=f"{curve.label} at {size}")
            usage = _try(contenders[curve.label], curve, i, seconds, budget, device)
            if usage is not None:
                seconds[curve.label, size] = usage.seconds
                curve.points[i].peak_bytes = usage.peak_bytes
            progress.advance(task, size)

    points = {(c.label, p.size): p for c in curves for p in c.points if not p.not_run}
    costs = {key: max(seconds[key], SAMPLE_SECONDS) for key in points}
    turns = take_turns(
        {(label, size): partial(contenders[label], size) for label, size in points},
        rounds,
        progress,
        progress.add_task("time", total=sum(costs.values()) * (rounds + 1), what=""),
        costs,
        timer_for(device),
        name=lambda key: f"{key[0]} at {key[1]}",
    )
    for key, point in points.items():
        point.samples = turns.samples.get(key, [])
        point.not_run = turns.failed.get(key, "")
    return curves


def _try(
    prepare: Callable[[int], Step],
    curve: Curve,
    index: int,
    seconds: Mapping[tuple[str, int], float],
    budget: Budget,
    device: str,
) -> Usage | None:
    """Run point ``index`` alone, or note on it why not."""
    point, before = curve.points[index], curve.points[:index]
    if any(p.not_run for p in before):
        point.not_run = before[-1].not_run
    elif before:
        sizes = [p.size for p in before]
        time_needed = predict(sizes, [seconds[curve.label, s] for s in sizes], point.size)
        memory_needed = predict(sizes, [max(p.peak_bytes, 1) for p in before], point.size)
        if time_needed > budget.seconds:
            point.not_run = f"a run would take more than {budget.seconds:g} s"
        elif memory_needed > budget.bytes:
            point.not_run = f"a run would need more than {budget.bytes / 2**30:.1f} GiB"
        if point.not_run and len(before) == 1:  # nobody knows yet how it grows
            point.not_run += " if it grew with the square; a size between would tell"
    if not point.not_run:
        try:
            return measure_alone(prepare, point.size, device=device)
        except MemoryError:
            point.not_run = OUT_OF_MEMORY
        except RuntimeError as error:
            point.not_run = str(error)
    return None
