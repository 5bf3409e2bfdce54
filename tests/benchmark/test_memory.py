"""Peak memory, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable

import pytest

from vit_backbones.benchmark.memory import measure_alone

MIB = 2**20


def allocate(freed: int, held: int, within: int, pieces: int = 1) -> Callable[[], None]:
    """Take and free ``freed`` MiB in ``pieces``, hold ``held`` MiB; then in the step take
    ``within`` MiB in as many."""

    def take(size: int) -> list[bytearray]:
        return [bytearray(b"x") * (size * MIB // pieces) for _ in range(pieces)]

    taken = take(freed)
    above = bytearray(100_000)  # the allocator does not give back what lies below it by itself
    del taken
    kept = bytearray(b"x") * (held * MIB)

    def step() -> None:
        assert len(kept) == held * MIB and above
        _ = take(within)
        time.sleep(0.2)

    return step


def fail(error: Exception | None) -> Callable[[], None]:
    def step() -> None:
        if error is None:
            os._exit(9)  # as the kernel ends a process that took too much
        raise error

    return step


def end_the_parent() -> Callable[[], None]:
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(100)


def test_a_terminated_process_takes_the_other_along() -> None:
    with pytest.raises(SystemExit):
        measure_alone(end_the_parent)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("pieces", [1, 2000])
def test_peak_of_the_step_alone(pieces: int) -> None:
    """Above what is held before it, and not hidden by what was freed before it, nor by what the
    allocator keeps of that."""
    usage = measure_alone(allocate, 200, 50, 40, pieces)
    assert usage.peak_bytes / MIB == pytest.approx(40, abs=4)
    assert 0.2 <= usage.seconds


@pytest.mark.parametrize(
    "error", [RuntimeError("DefaultCPUAllocator: can't allocate memory"), None], ids=str
)
def test_out_of_memory(error: Exception | None) -> None:
    with pytest.raises(MemoryError):
        measure_alone(fail, error)


def test_other_errors_come_through() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError: by nought"):
        measure_alone(fail, ZeroDivisionError("by nought"))
