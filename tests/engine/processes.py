"""Processes that tests start for a run of their own."""

from __future__ import annotations

import multiprocessing

# Forked from a clean process: once a test has compiled a model, autograd refuses to work in forks
# of the one that runs the tests. The preload keeps each from importing torch anew.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.engine.toy"])
