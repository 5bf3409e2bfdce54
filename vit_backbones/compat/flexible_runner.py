"""mmengine's FlexibleRunner, where its checkpoints and hooks differ from those of Runner.

* It builds and resumes before the hooks' ``before_run``, so a hook that chooses the checkpoint, or
  that holds what a checkpoint fills (EMAHook), comes too late. Runner calls it before.
* ``save_checkpoint`` overrules the epoch and iteration that it is given, so what is saved after a
  validation (the best checkpoint) resumes one epoch too far.
* ``save_checkpoint`` takes ``backend_args``, but writes to the default backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

from .repair import Repair, State


def _install(repair: Repair) -> None:
    from mmengine.runner import FlexibleRunner

    load_or_resume, call_hook = FlexibleRunner.load_or_resume, FlexibleRunner.call_hook
    save_checkpoint = FlexibleRunner.save_checkpoint

    @wraps(load_or_resume)
    def before_run_first(self: FlexibleRunner) -> None:
        self.call_hook("before_run")
        self._before_run_is_done = True
        load_or_resume(self)

    @wraps(call_hook)
    def call_hook_once(self: FlexibleRunner, fn_name: str, **kwargs: Any) -> None:
        if fn_name == "before_run" and self.__dict__.pop("_before_run_is_done", False):
            return
        call_hook(self, fn_name, **kwargs)

    @wraps(save_checkpoint)
    def save_as_told(
        self: FlexibleRunner,
        *args: Any,
        meta: dict[str, Any] | None = None,
        backend_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        with _told(self.strategy, dict(meta or {}), backend_args):
            save_checkpoint(self, *args, meta=meta, backend_args=backend_args, **kwargs)

    FlexibleRunner.load_or_resume = before_run_first
    FlexibleRunner.call_hook = call_hook_once
    FlexibleRunner.save_checkpoint = save_as_told
    repair.set(State.APPLIED, "hooks run first, checkpoints hold and go where they are told")


@contextmanager
def _told(strategy: Any, meta: dict[str, Any], backend_args: dict | None) -> Iterator[None]:
    """While it lasts, ``strategy`` saves checkpoints with this ``meta``, to this backend."""
    from mmengine.runner import checkpoint

    write, save = checkpoint.save_checkpoint, strategy.save_checkpoint

    def save_with_meta(*args: Any, extra_ckpt: dict[str, Any], **kwargs: Any) -> None:
        extra_ckpt["meta"].update(meta)
        save(*args, extra_ckpt=extra_ckpt, **kwargs)

    checkpoint.save_checkpoint = partial(write, backend_args=backend_args)
    strategy.save_checkpoint = save_with_meta
    try:
        yield
    finally:
        checkpoint.save_checkpoint = write
        del strategy.save_checkpoint


REPAIR = Repair(
    name="FlexibleRunner's checkpoints",
    why="mmengine's FlexibleRunner resumes before its hooks are ready, and saves another epoch",
    install=_install,
)
