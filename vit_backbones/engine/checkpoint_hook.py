"""Checkpoints that survive a SIGKILL at any moment and hold all that an exact resume needs."""

from __future__ import annotations

import inspect
import os
import re
import zipfile
from bisect import bisect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as _CheckpointHook
from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper
from mmengine.runner import FlexibleRunner, IterBasedTrainLoop, Runner

from ..checkpoint.sharded import is_sharded
from ..errors import UserError, nearest
from ..files import ATOMIC, remove_partial_files, write_atomically
from ..registry import HOOKS
from .epoch_length import KEY as EPOCH_LENGTH
from .epoch_length import fit_epoch_length

POINTER = "last_checkpoint"


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """mmengine's CheckpointHook, with three differences.

    * Every file is written atomically, and what a new checkpoint replaces is deleted only after the
      new one and the pointer to it are complete. The order is: best checkpoint, checkpoint,
      pointer, deletions. A deletion that a kill has prevented is known to the checkpoint and done
      when the run is resumed.
    * Where a validation follows, the checkpoint is written after it, not before: score, best
      checkpoint, early-stopping counters and plot of that epoch are part of it, so a resumed run
      misses nothing. Where the validation fails it is written then, without these.
    * ``resume`` without a file takes the checkpoint that ``last_checkpoint`` names, looked up in
      the work folder itself first (the folder may have moved), or else the newest complete one. The
      best one is looked up beside it.

    Args: as mmengine's. Remote folders (``out_dir='s3://...'``) keep their own backend and its
    guarantees.

    Raises:
        UserError: An argument that neither it nor ``Runner.save_checkpoint`` takes; resume from a
            file that is absent, damaged, or was saved without its optimizer.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own, passed_on = (
            inspect.signature(function).parameters
            for function in (_CheckpointHook.__init__, Runner.save_checkpoint)
        )
        for name in self.args.keys() - passed_on.keys():
            raise UserError(f"CheckpointHook has no argument '{name}'{nearest(name, own)}")
        if self.backend_args is None and self.file_client_args is None and _is_local(self.out_dir):
            self.backend_args = dict(backend=ATOMIC)
        self._due = False  # the checkpoint of this step waits for the validation
        self._superseded: list[str] = []

    def before_run(self, runner: Runner) -> None:
        if not runner._resume:
            return
        if runner._load_from is None:
            runner._load_from = find_checkpoint(runner.work_dir)
            if runner._load_from is None:
                runner.logger.info(
                    f"No checkpoint in {runner.work_dir}: starting from the beginning."
                )
                runner._resume = False
        elif _is_local(runner._load_from) and not is_complete(runner._load_from):
            state = "is damaged" if os.path.exists(runner._load_from) else "does not exist"
            raise UserError(
                f"cannot resume: the checkpoint {runner._load_from} {state}. "
                f"--resume auto takes the newest complete one of the work folder"
            )
        if runner._resume:
            # all weights are in the checkpoint, and the file from which they began may be gone
            runner._init_model_weights = lambda: None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        anew = f"start anew from these weights: --cfg-options load_from={runner._load_from}"
        if "optimizer" not in checkpoint:
            raise UserError(
                f"cannot resume: {runner._load_from} holds weights but no optimizer state. Resume "
                f"from an epoch_N.pth or iter_N.pth, or {anew}"
            )
        fit_epoch_length(runner, checkpoint)
        saved = checkpoint["optimizer"].get("param_groups")
        wrapper = runner.optim_wrapper
        if saved is None or not isinstance(wrapper, OptimWrapper):
            return
        own = wrapper.optimizer.param_groups  # the wrapper's have one more, without parameters
        theirs, ours = ([len(g["params"]) for g in gs] for gs in (saved, own))
        if theirs != ours:
            raise UserError(
                f"cannot resume: the optimizer of {runner._load_from} has {sum(theirs)} parameters "
                f"in {len(theirs)} groups, this config's has {sum(ours)} in {len(ours)}. Resume "
                "with the run's own config (the same frozen parameters, optim_wrapper.constructor "
                f"and paramwise_cfg), or {anew}"
            )

    def before_train(self, runner: Runner) -> None:
        if runner._resume:
            self._find_moved(runner)
        elif is_main_process() and find_checkpoint(runner.work_dir):
            runner.logger.warning(
                f"{runner.work_dir} holds checkpoints of a former run, and this one begins anew: "
                "files of the same name are replaced, the others stay. --resume would go on with "
                "that run; --work-dir FOLDER keeps the two apart."
            )
        super().before_train(runner)
        if runner._resume:
            self.last_ckpt = runner._load_from
            runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        self._superseded = list(runner.message_hub.runtime_info.get("superseded_ckpts", ()))
        self._delete_superseded(runner)
        if is_main_process() and _is_local(self.out_dir):
            remove_partial_files(self.out_dir)
            remove_partial_files(runner.work_dir)
        self.file_backend = _NoteRemovals(self.file_backend, self._superseded)
        if not isinstance(runner.train_loop, IterBasedTrainLoop):
            runner.message_hub.update_info(EPOCH_LENGTH, len(runner.train_dataloader))
        if runner.val_loop is not None:
            runner.val_loop.run = self._saving_on_failure(runner, runner.val_loop.run)

    def _find_moved(self, runner: Runner) -> None:
        """Look for the files that a checkpoint names beside it: its folder may have moved."""
        if not _is_local(runner._load_from):
            return
        folder = Path(runner._load_from).parent

        def moved(path: str) -> str:
            beside = folder / Path(path).name
            return str(beside) if beside.exists() else path

        info = runner.message_hub.runtime_info
        for key in [key for key in info if key.startswith("best_ckpt")]:
            runner.message_hub.update_info(key, moved(info[key]))
        superseded = [moved(path) for path in info.get("superseded_ckpts", ())]
        runner.message_hub.update_info("superseded_ckpts", superseded)

    def _saving_on_failure(self, runner: Runner, run: Callable[[], Any]) -> Callable[[], Any]:
        """``run``, a validation, that does not take the waiting checkpoint with it."""
        averages = [AveragedWeights(h) for h in runner.hooks if isinstance(h, EMAHook)]

        def validate() -> Any:
            try:
                return run()
            except BaseException as error:
                for average in averages:
                    average.take_out()
                # by one process: a sharded one would wait for others, which may not have failed
                if self._due and not isinstance(runner, FlexibleRunner):
                    self._save_due(runner)
                    what = "failed" if isinstance(error, Exception) else "was interrupted"
                    runner.logger.error(f"The validation {what}; {self.last_ckpt} is saved.")
                raise

        return validate

    def after_val(self, runner: Runner) -> None:
        if self._due:
            self._save_due(runner)

    def _save_due(self, runner: Runner) -> None:
        self._due = False
        step = runner.epoch if self.by_epoch else runner.iter
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        self._save_checkpoint_with_step(runner, step, meta)

    def after_train(self, runner: Runner) -> None:
        super().after_train(runner)
        self._delete_superseded(runner)

    def _save_checkpoint(self, runner: Runner) -> None:
        if self._validation_follows(runner):
            self._due = True
        else:
            super()._save_checkpoint(runner)

    def _validation_follows(self, runner: Runner) -> bool:
        """Whether the train loop validates at the end of the current step (mmengine's own rule)."""
        loop = runner.train_loop
        if runner.val_loop is None or isinstance(loop, IterBasedTrainLoop) == self.by_epoch:
            return False
        step = 1 + (loop.epoch if self.by_epoch else loop.iter)
        last = loop.max_epochs if self.by_epoch else loop.max_iters
        interval = loop.dynamic_intervals[bisect(loop.dynamic_milestones, step + 1) - 1]
        return step >= loop.val_begin and (step % interval == 0 or step == last)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        # mmengine saves the last checkpoint once more when the best one has changed; after_val does
        # that here.
        last_ckpt, self.last_ckpt = self.last_ckpt, None
        super()._save_best_checkpoint(runner, metrics)
        self.last_ckpt = last_ckpt

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        hub = runner.message_hub
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                self._superseded.append(self._path(self.keep_ckpt_ids.popleft()))
            self.keep_ckpt_ids.append(step)
            hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        hub.update_info("superseded_ckpts", list(self._superseded))
        runner.save_checkpoint(
            self.out_dir,
            self.filename_tmpl.format(step),
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self.last_ckpt = self._path(step)
        hub.update_info("last_ckpt", self.last_ckpt)  # not before it is complete
        if is_main_process():
            write_atomically(Path(runner.work_dir, POINTER), self.last_ckpt.encode())
        self._delete_superseded(runner)

    def _path(self, step: int) -> str:
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))

    def _delete_superseded(self, runner: Runner) -> None:
        """Delete what the newest checkpoint replaces: in this run's folder, and not in use."""
        info = runner.message_hub.runtime_info
        in_use = {self.last_ckpt, *(v for k, v in info.items() if k.startswith("best_ckpt"))}
        backend = getattr(self.file_backend, "backend", self.file_backend)
        for path in self._superseded:
            own = os.path.dirname(path) == str(self.out_dir).rstrip("/")
            if is_main_process() and own and path not in in_use:
                if backend.isfile(path):
                    backend.remove(path)
                elif backend.isdir(path):  # deepspeed's checkpoints are folders
                    backend.rmtree(path)
        self._superseded.clear()


class AveragedWeights:
    """Knows whether an EMAHook has exchanged the model's weights for their average, as it does
    before a validation and again after it."""

    def __init__(self, hook: EMAHook) -> None:
        self.exchange, self.inside = hook._swap_ema_parameters, False
        hook._swap_ema_parameters = self._exchange

    def _exchange(self) -> None:
        self.exchange()
        self.inside = not self.inside

    def take_out(self) -> None:
        if self.inside:
            self._exchange()


class _NoteRemovals:
    """A file backend that notes what it is told to remove, for later."""

    def __init__(self, backend: Any, noted: list[str]) -> None:
        self.backend, self.noted = backend, noted

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.noted.append(path)

    rmtree = remove


def find_checkpoint(work_dir: str | Path) -> str | None:
    """The checkpoint that ``last_checkpoint`` names, else the newest complete one."""
    return next((str(path) for path in _candidates(Path(work_dir)) if is_complete(path)), None)


def _candidates(work_dir: Path) -> Iterator[Path]:
    pointer = work_dir / POINTER
    if pointer.is_file() and (named := pointer.read_text().strip()):
        yield work_dir / Path(named).name
        yield Path(named)
    steps = {
        path: int(match[1])
        for path in work_dir.glob("*.pth")
        if (match := re.fullmatch(r"(?:epoch|iter)_(\d+)\.pth", path.name))
    }
    yield from sorted(steps, key=steps.__getitem__, reverse=True)


def is_complete(path: str | Path) -> bool:
    """Whether ``path`` is a whole file of torch.save (a zip, whose directory comes last), or a
    folder that FSDP or DeepSpeed has written to its end."""
    if os.path.isdir(path):
        return is_sharded(path) or any(Path(path).glob("*model_states.pt"))
    return os.path.isfile(path) and zipfile.is_zipfile(path)


def _is_local(path: object) -> bool:
    return "://" not in str(path)
