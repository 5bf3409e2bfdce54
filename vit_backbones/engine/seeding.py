"""Random numbers as a function of where the run is, so that no generator's state has to be saved.

Each sample is prepared with generators seeded by (run's seed, epoch, number of the draw in the
epoch). The number counts over all ranks: with one process or with eight, the same draw gets the
same image and the same augmentation, and so it does whichever worker process prepares it, and after
a resume.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from torch.utils.data import Dataset, Sampler

SAMPLE, ITERATION = 0, 1  # what a seed is for: the first word of its key


class Draw(int):
    """An index into a data set together with the key of the random numbers of its sample.

    It travels to the worker process with the index, which is how a worker that lives through many
    epochs (``persistent_workers``) learns the epoch.
    """

    key: tuple[int, ...]

    def __new__(cls, index: int, key: tuple[int, ...]) -> Draw:
        self = super().__new__(cls, index)
        self.key = key
        return self

    def __reduce__(self) -> tuple:
        return Draw, (int(self), self.key)


class DrawSampler(Sampler):
    """Yields the indices of ``sampler`` as `Draw`s; all else is the sampler's own.

    Args:
        sampler: Gives each rank every world_size-th index, as mmengine's and mmpretrain's samplers
            do.
        seed: Seed of the run.
        start: Number of indices of this rank to leave out, once.
    """

    def __init__(self, sampler: Sampler, seed: int, start: int = 0) -> None:
        self.sampler, self.seed, self.start = sampler, seed, start
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        epoch, start = self.epoch, self.start
        self.epoch, self.start = epoch + 1, 0
        rank, world_size = get_dist_info()
        for number, index in enumerate(itertools.islice(self.sampler, start, None), start):
            if isinstance(index, int | np.integer):
                yield Draw(index, (SAMPLE, self.seed, epoch, number * world_size + rank))
            else:  # video samplers of mmdet draw (video, frame) pairs; these stay unseeded
                yield index

    def __len__(self) -> int:
        return len(self.sampler)

    def __getattr__(self, name: str) -> Any:
        if name == "sampler":  # not yet set: the object is being unpickled
            raise AttributeError(name)
        return getattr(self.sampler, name)


def fetch(dataset: Dataset, indices: Sequence[int]) -> list:
    """The samples of ``indices``, each prepared with the random numbers of its draw."""
    samples = []
    for index in indices:
        if isinstance(index, Draw):
            seed_generators(*index.key)
            index = int(index)
        samples.append(dataset[index])
    return samples


def seed_generators(*key: int) -> None:
    """Seed the generators of Python, numpy and torch (CPU) with a hash of ``key``."""
    words = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.default_generator.manual_seed(int(words[2]))  # much faster than torch.manual_seed


def seed_everything(*key: int) -> None:
    """Seed the generators of Python, numpy and torch, all devices, with a hash of ``key``."""
    seed_generators(*key)
    torch.manual_seed(torch.initial_seed())
