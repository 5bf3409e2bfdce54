"""Turns: their order, how often a step is repeated, and contenders that fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import pytest
import torch

from vit_backbones.benchmark.rounds import (
    Turns,
    cpu_timer,
    describe_failure,
    progress_bar,
    take_turns,
)
from vit_backbones.errors import UserError


def play(
    contenders: Mapping[str, Callable], rounds: int, seconds: float = 1.0
) -> tuple[Turns[str], list[int], float]:
    """Every step takes ``seconds`` by the clock. Also the repeats of each sample, and how far the
    progress bar came."""
    repeats = []

    def timer(step, number: int) -> float:
        repeats.append(number)
        step()
        return seconds

    with progress_bar(disable=True) as progress:
        task = progress.add_task("", total=len(contenders) * (rounds + 1), what="")
        costs = dict.fromkeys(contenders, 1.0)
        turns = take_turns(contenders, rounds, progress, task, costs, timer)
        done = progress.tasks[0].percentage
    return turns, repeats, done


def test_every_round_has_all_contenders_every_second_one_in_reverse() -> None:
    order = []
    contenders = {name: lambda name=name: lambda: order.append(name) for name in "abc"}
    turns, _, done = play(contenders, 3)
    assert "".join(order) == "aabbcc" + "abc" + "cba" + "abc"  # the warm-up first
    assert turns.samples == {name: [1.0] * 3 for name in "abc"}
    assert done == 100


def test_short_steps_are_repeated_within_a_sample() -> None:
    _, repeats, _ = play({"a": lambda: lambda: None}, 2, seconds=0.012)
    assert repeats == [1, 1, 9, 9]


def failing_after(steps: int, error: Exception) -> Callable:
    left = [steps]

    def step() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise error

    return lambda: step


@pytest.mark.parametrize("steps", [0, 3])
def test_a_contender_that_fails_is_dropped_with_its_reason(steps: int) -> None:
    failing = failing_after(steps, RuntimeError("no kernel\nfor this"))
    turns, _, done = play({"good": lambda: lambda: None, "bad": failing}, 3)
    assert turns.failed == {"bad": "RuntimeError: no kernel"}
    assert turns.samples == {"good": [1.0] * 3}
    assert done == 100


def test_a_mistake_of_the_user_ends_it() -> None:
    with pytest.raises(UserError, match="wrong"):
        play({"a": failing_after(1, UserError("wrong"))}, 1)


@pytest.mark.parametrize(
    "error, text",
    [
        (MemoryError(), "out of memory"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried..."), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: ..."), "out of memory"),
        (AssertionError(), "AssertionError"),
        (ValueError("one\ntwo"), "ValueError: one"),
    ],
)
def test_failures_in_words(error: Exception, text: str) -> None:
    assert describe_failure(error) == text


def test_the_clock_gives_the_seconds_of_one_step() -> None:
    assert 0.02 <= cpu_timer(lambda: time.sleep(0.02), 3) < 0.2
