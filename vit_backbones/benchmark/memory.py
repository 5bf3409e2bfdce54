"""Peak memory of one piece of work, alone in its own process."""

from __future__ import annotations

import ctypes
import multiprocessing
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from ..files import ended_in_order
from .rounds import OUT_OF_MEMORY, describe_failure


@dataclass(frozen=True)
class Usage:
    """What one run took: wall-clock seconds, and the peak of the process's memory (bytes) above
    what it held before the run."""

    seconds: float
    peak_bytes: int


def measure_alone(
    prepare: Callable[..., Callable[[], Any]], *args: Any, device: str = "cpu"
) -> Usage:
    """``step = prepare(*args)`` and then one ``step()``, measured, in a fresh process.

    What ``prepare`` makes (weights, input) is not counted; it may run a small case first, so that
    libraries have set themselves up. ``prepare`` and ``args`` must pickle. On the device 'cuda' it
    is the memory that torch took there.

    Raises:
        MemoryError: The process ran out of memory, or was ended from outside (which, on Linux, is
            what running out looks like).
        RuntimeError: It failed in another way; the message is that of the process.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sender, prepare, args, device), daemon=True)
    with ended_in_order():
        process.start()
        sender.close()
        try:
            result = receiver.recv()
        except EOFError:
            result = MemoryError("the process was ended")
        finally:
            process.kill()  # it has said all; or we were interrupted
            process.join()
    if isinstance(result, Exception):
        raise result
    return result


def _run(
    sender: Connection, prepare: Callable[..., Callable[[], Any]], args: tuple, device: str
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one
    try:
        step = prepare(*args)
        sender.send(_measure(step) if device == "cpu" else _measure_on_cuda(step))
    except Exception as error:
        message = describe_failure(error)
        is_memory = message == OUT_OF_MEMORY
        sender.send(MemoryError(message) if is_memory else RuntimeError(message))


def _measure(step: Callable[[], Any]) -> Usage:
    before = _start_peak()
    start = time.perf_counter()
    step()
    return Usage(time.perf_counter() - start, _peak() - before)


def _measure_on_cuda(step: Callable[[], Any]) -> Usage:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    start = time.perf_counter()
    step()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return Usage(seconds, torch.cuda.max_memory_allocated() - before)


def _start_peak() -> int:
    """Make the present memory the peak so far, where the system can; bytes of that. What the
    allocator holds free from before goes back to the system, as it would serve the run unseen."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc's
        libc.malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # then a higher peak from before hides that much of what follows
    return _peak()


def _peak() -> int:
    """Highest resident memory of this process, bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
