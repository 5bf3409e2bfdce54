"""Processes that tests start for a run of their own."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import torch

# Forked from a clean process: once a test has compiled a model, autograd refuses to work in forks
# of the one that runs the tests. The preload keeps each from importing torch and mmpretrain anew.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.engine.toy", "tests.engine.digits"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def on_ranks(count: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """What ``work(*args)`` returns, or the exception it raises, in each of some gloo processes."""
    answers = PROCESSES.Queue()
    port = str(free_port())
    ranks = [
        PROCESSES.Process(target=_run_rank, args=(rank, count, port, answers, work, args))
        for rank in range(count)
    ]
    for process in ranks:
        process.start()
    found = dict(answers.get(timeout=300) for _ in ranks)
    for process in ranks:
        process.join(30)
    return [found[rank] for rank in range(count)]


def _run_rank(
    rank: int, count: int, port: str, answers: Any, work: Callable[..., Any], args: tuple
) -> None:
    os.environ |= dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count))
    os.environ |= dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    torch.distributed.init_process_group("gloo")
    try:
        answer = work(*args)
    except Exception as error:
        answer = error
    answers.put((rank, answer))
