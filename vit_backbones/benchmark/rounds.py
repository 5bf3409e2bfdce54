"""Timing by turns: in each round every contender has one, so that a busy moment of the machine hits
all alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ..errors import UserError

Step = Callable[[], Any]
Timer = Callable[[Step, int], float]  # step, repeats -> seconds of one of them
Key = TypeVar("Key", bound=Hashable)
OUT_OF_MEMORY = "out of memory"
SAMPLE_SECONDS = 0.1  # a timed sample repeats its step until it has taken this long


def cpu_timer(step: Step, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats


def cuda_timer(step: Step, repeats: int) -> float:
    """By events on the stream; the host waits only after the last step."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        step()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / repeats


def timer_for(device: str) -> Timer:
    return cpu_timer if device == "cpu" else cuda_timer


@dataclass
class Turns(Generic[Key]):
    """What came of it.

    Attributes:
        samples: Contender -> seconds of one step in each round, as many for each.
        failed: Contender -> why it has no samples.
    """

    samples: dict[Key, list[float]]
    failed: dict[Key, str]


def take_turns(
    contenders: Mapping[Key, Callable[[], Step]],
    rounds: int,
    progress: Progress,
    task: TaskID,
    costs: Mapping[Key, float],
    timer: Timer = cpu_timer,
    name: Callable[[Key], str] = str,
) -> Turns[Key]:
    """Prepare and warm up every contender, then time them in ``rounds``, every second one of them
    in reverse order.

    The warm-up is two steps: the first sets things up (and compiles), the second says how often a
    sample has to repeat the step. A contender that fails at any time is dropped with its reason.

    Args:
        contenders: Key -> function that prepares a step.
        task: Advanced by the contender's cost for its warm-up and for each of its turns.
        name: Of a key, for people.

    Raises:
        UserError: From a contender.
    """
    steps: dict[Key, Step] = {}
    repeats: dict[Key, int] = {}
    turns: Turns[Key] = Turns({key: [] for key in contenders}, {})

    def attempt(key: Key, work: Callable[[], None], what: str) -> None:
        if key not in turns.failed:
            progress.update(task, what=f"{name(key)}, {what}")
            try:
                work()
            except UserError:
                raise
            except Exception as error:
                turns.failed[key] = describe_failure(error)
                steps.pop(key, None)
        progress.advance(task, costs[key])

    def warm_up(key: Key) -> None:
        steps[key] = contenders[key]()
        timer(steps[key], 1)
        repeats[key] = math.ceil(SAMPLE_SECONDS / max(timer(steps[key], 1), 1e-6))

    def turn(key: Key) -> None:
        turns.samples[key].append(timer(steps[key], repeats[key]))

    for key in contenders:
        attempt(key, lambda key=key: warm_up(key), "warm-up")
    for number in range(rounds):
        for key in list(contenders) if number % 2 == 0 else reversed(list(contenders)):
            attempt(key, lambda key=key: turn(key), f"round {number + 1} of {rounds}")
    for key in turns.failed:
        del turns.samples[key]
    return turns


def describe_failure(error: Exception) -> str:
    """'out of memory', or the error's kind and the first line of its message."""
    message = f"{type(error).__name__}: {error}"
    # torch has no class of its own for a failed allocation on the CPU
    is_memory = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
    if is_memory or "can't allocate memory" in message:
        return OUT_OF_MEMORY
    return message.splitlines()[0].removesuffix(": ")


def progress_bar(**options: Any) -> Progress:
    """What runs, how far, and how long it will still take."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}"),
        speed_estimate_period=3600,  # single steps can take longer than rich's 30 s
        **options,
    )
