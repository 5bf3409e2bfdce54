"""Exact resume: the random numbers of a run follow from its seed and its progress alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import BatchSampler, DataLoader

from ..registry import HOOKS
from .epoch_length import KEY as EPOCH_LENGTH
from .seeding import ITERATION, DrawSampler, fetch, seed_everything


@HOOKS.register_module()
class SeedHook(Hook):
    """Makes a resumed run equal to one that was never stopped, bit for bit where the arithmetic
    allows it.

    mmengine neither saves the states of the random generators nor seeds worker processes by epoch.
    Saving them would not be enough: a worker that lives through many epochs has a state of its own,
    prefetches beyond the checkpoint, and their number may change. So nothing is saved; each use of
    randomness is seeded anew:

    * a sample's augmentation by (seed, epoch, number of the draw over all ranks), see `seeding`:
      independent of worker processes and of the number of ranks, also for the image that replaces
      an unreadable one;
    * what the training step draws (dropout, stochastic depth, mixup) by (seed, iteration, rank),
      before each step.

    A run that is resumed within an epoch (checkpoints with ``by_epoch=False``) or, with an
    InfiniteSampler, within a stream of iterations goes to its position without loading what lies
    before; within a stream of other samplers mmengine steps through it.

    Not covered: transforms that keep a state of their own between samples (mmdet's CachedMosaic) or
    a generator of their own (albumentations), and samples that mmdet's video samplers draw. On a
    GPU, bitwise equality also needs ``--deterministic``.
    """

    priority = "VERY_HIGH"

    def before_run(self, runner: Runner) -> None:
        self._seed_before_resume = runner.seed

    def before_train(self, runner: Runner) -> None:
        loader: DataLoader = runner.train_dataloader
        sampler = loader.batch_sampler.sampler
        if getattr(sampler, "seed", None) == self._seed_before_resume:
            sampler.seed = runner.seed  # a run without a set seed takes it from the checkpoint
        self._draws = DrawSampler(sampler, runner.seed)
        loader.batch_sampler.sampler = self._draws
        # torch's fetcher prefers a data set's own __getitems__ to one __getitem__ per index.
        loader.dataset.__getitems__ = partial(fetch, loader.dataset)
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            restart_stream(runner.train_loop, self._draws)
        elif EPOCH_LENGTH in runner.message_hub.runtime_info:
            # resumed, and not from mmengine's own checkpoint, whose epochs may have another length
            skip_batches(loader, self._draws, runner.iter - runner.epoch * len(loader))

    def before_train_epoch(self, runner: Runner) -> None:
        self._draws.epoch = runner.epoch

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        seed_everything(ITERATION, runner.seed, runner.iter, get_rank())


def restart_stream(loop: IterBasedTrainLoop, draws: DrawSampler) -> None:
    """Start the endless stream of batches anew, at the current iteration.

    The loop has opened it before the run was resumed (and mmengine 0.10.7 has workers that prefetch
    by then).
    """
    loader, sampler = loop.dataloader, draws.sampler
    skipped = 0
    if isinstance(sampler, InfiniteSampler):
        skipped = loop.iter
        sampler.indices = sampler._indices_of_rank()
        skip_batches(loader, draws, skipped)
    loader._iterator = None  # else persistent workers go on with their old copy of the data set
    stream = type(loop.dataloader_iterator)(loader)
    if not hasattr(stream, "skip_iter"):  # mmengine < 0.10.8 resumes by loading what it then drops
        stream = itertools.chain(itertools.repeat(None, skipped), stream)
    elif skipped:
        stream.skip_iter = lambda number: None
    loop.dataloader_iterator = stream


def skip_batches(loader: DataLoader, draws: DrawSampler, number: int) -> None:
    """Let the loader begin after so many batches, once; it does not load these."""
    if type(loader.batch_sampler) is BatchSampler:
        draws.start = number * loader.batch_size
    elif number:
        batches = SkippedBatches(loader.batch_sampler, number)
        object.__setattr__(loader, "batch_sampler", batches)  # which torch's loader guards


class SkippedBatches:
    """A batch sampler whose batches follow from the images (mmdet's by aspect ratio), without the
    first ones, which are put together from indices, but not loaded."""

    def __init__(self, batches: BatchSampler, skipped: int) -> None:
        self.batches, self.skipped = batches, skipped
        self.sampler, self.batch_size = batches.sampler, batches.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        # a generator: torch's loader makes two and uses one
        skipped, self.skipped = self.skipped, 0
        yield from itertools.islice(self.batches, skipped, None)

    def __len__(self) -> int:
        return len(self.batches)
