"""Ours and others' implementations of the same encoder, side by side: time, memory, and the share
of what the machine can do."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median, quantiles
from typing import Any

import torch
from rich.progress import Progress, TaskID

from ..complexity import count
from ..errors import UserError
from .contender import OURS, Anatomy, Contender, look_at, our_encoder
from .memory import measure_alone
from .peer import NotOffered
from .rounds import describe_failure, take_turns, timer_for
from .workload import Workload, matrix_product

LIMIT = "limit"  # the matrix product's key among the contenders


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0])
        low, _, high = quantiles(samples, n=4, method="inclusive")
        return cls(low, median(samples), high)


@dataclass
class Result:
    """One contender's figures.

    Attributes:
        library: Whose.
        anatomy: Parameters, outputs, attention; None where it could not be built.
        samples: Seconds of a step in each round.
        peak_bytes: Peak memory of a step alone in its process, above weights, optimizer and input.
        left_out: Why there are no figures, or empty.
    """

    library: str
    anatomy: Anatomy | None = None
    samples: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    left_out: str = ""

    @property
    def seconds(self) -> Spread | None:
        return Spread.of(self.samples) if self.samples else None


@dataclass
class Match:
    """One model and workload, all its contenders, in one run.

    Attributes:
        flops: Multiply-adds of a forward pass of one image, those of the definition.
        limit_flops: Multiplications and additions of the matrix product.
        limit_samples: Seconds of that product, in the same rounds.
    """

    model: str
    settings: Mapping[str, Any]
    workload: Workload
    flops: int
    results: list[Result]
    limit_flops: int = 0
    limit_samples: list[float] = field(default_factory=list)

    @property
    def best_peer(self) -> Result | None:
        """The other library with the smallest median time."""
        peers = [r for r in self.results if r.library != OURS and r.samples]
        return min(peers, key=lambda r: r.seconds.middle, default=None)

    def ratio(self, result: Result) -> Spread | None:
        """How many times the best peer's speed, round by round."""
        best = self.best_peer
        if best is None or not result.samples:
            return None
        return Spread.of([b / s for b, s in zip(best.samples, result.samples, strict=True)])

    def share_of_limit(self, result: Result) -> Spread | None:
        """The time that its FLOPs take in the matrix product over the time that it takes, round by
        round."""
        if not result.samples or not self.limit_samples:
            return None
        products = 2 * self.flops * self.workload.passes * self.workload.batch / self.limit_flops
        pairs = zip(self.limit_samples, result.samples, strict=True)
        return Spread.of([products * limit / s for limit, s in pairs])

    def limit_ratio(self) -> float | None:
        """How many times the best peer's speed the matrix product would allow."""
        share = self.best_peer and self.share_of_limit(self.best_peer)
        return 1 / share.middle if share else None

    def memory_ratio(self, result: Result) -> float | None:
        """Its peak over the smallest of the peers'."""
        peaks = [r.peak_bytes for r in self.results if r.library != OURS and r.peak_bytes]
        return result.peak_bytes / min(peaks) if peaks and result.peak_bytes else None

    def images_per_second(self, result: Result) -> float:
        return self.workload.batch / result.seconds.middle

    def mismatches(self) -> list[str]:
        """What shows that a peer isn't the same network, in words."""
        ours = next((r.anatomy for r in self.results if r.library == OURS and r.anatomy), None)
        found = []
        for result in self.results:
            theirs = result.anatomy
            if ours is None or theirs is None:
                continue
            if theirs.params != ours.params:
                difference = theirs.params - ours.params
                found.append(f"{result.library} has {difference:+,} parameters against ours")
            if theirs.elements != ours.elements:
                found.append(
                    f"{result.library} puts out {theirs.elements:,} numbers an image, "
                    f"ours {ours.elements:,}"
                )
        return found


def prepare_match(
    model: str, workload: Workload, libraries: Iterable[str], settings: Mapping[str, Any]
) -> Match:
    """A match before its first round: the definition's FLOPs, and a look at each contender.

    Raises:
        UserError: No such preset or setting.
    """
    with torch.device("meta"):
        flops = count(our_encoder(model, workload, settings), workload.size).flops
    match = Match(model, settings, workload, flops, [])
    for library in (OURS, *libraries):
        result = Result(library)
        match.results.append(result)
        try:
            encoder = Contender(model, workload, library, settings).build()
            result.anatomy = look_at(encoder, workload)
        except NotOffered as error:
            result.left_out = str(error)
        except UserError:
            raise
        except Exception as error:
            result.left_out = f"can't take {workload} ({describe_failure(error)})"
    return match


def measure_memory(match: Match, progress: Progress, task: TaskID) -> None:
    """Each contender's peak in a process of its own. One that fails is left out from here on."""
    gc.collect()
    torch.cuda.empty_cache()  # of what was looked at, or timed, before: the processes need it
    for result in match.results:
        if not result.left_out:
            progress.update(task, what=f"{_name(match, result.library)}, memory")
            contender = Contender(match.model, match.workload, result.library, match.settings)
            device = match.workload.device
            try:
                result.peak_bytes = measure_alone(contender.step_alone, device=device).peak_bytes
            except (MemoryError, RuntimeError) as error:
                result.left_out = describe_failure(error)
        progress.advance(task, cost(match))


def measure_time(match: Match, rounds: int, progress: Progress, task: TaskID) -> None:
    """All contenders and the matrix product by turns."""
    entrants = [r for r in match.results if not r.left_out]
    workload = match.workload
    product, match.limit_flops = matrix_product(workload.device, workload.dtype)
    contenders = {
        r.library: Contender(match.model, workload, r.library, match.settings).step
        for r in entrants
    }
    turns = take_turns(
        {**contenders, LIMIT: lambda: product},
        rounds,
        progress,
        task,
        {**dict.fromkeys(contenders, cost(match)), LIMIT: 0},
        timer_for(workload.device),
        name=partial(_name, match),
    )
    for result in entrants:
        result.samples = turns.samples.get(result.library, [])
        result.left_out = turns.failed.get(result.library, "")
    match.limit_samples = turns.samples.get(LIMIT, [])
    progress.advance(task, cost(match) * (len(match.results) - len(entrants)) * (rounds + 1))


def compare(matches: Sequence[Match], rounds: int, progress: Progress) -> Iterator[Match]:
    """Fill in the figures of ``matches``, and yield each when it has them; one after the other, so
    that only one match's contenders are held at a time.

    Args:
        progress: Started by the caller, see :func:`~vit_backbones.benchmark.rounds.progress_bar`.
    """
    total = sum(cost(match) * len(match.results) for match in matches) * (rounds + 2)
    task = progress.add_task("benchmark", total=total, what="")
    for match in matches:
        measure_memory(match, progress, task)
        measure_time(match, rounds, progress, task)
        yield match


def cost(match: Match) -> float:
    """Of one turn of one contender, in multiply-adds: the unit of the progress bar."""
    return match.flops * match.workload.passes * match.workload.batch


def _name(match: Match, library: str) -> str:
    return f"{match.model}, {match.workload.mode}, {library}"
