"""How fast a recipe's data come: its own data loader, on photographs that are made up."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

SIZE = (500, 375)  # of most of ImageNet's photographs, which take 110 KB on average
QUALITY = 92
CLASSES = 1000


def make_photographs(folder: Path, different: int = 64) -> None:
    """Lay ``folder`` out as ImageNet: so many made-up JPEGs, each under several of the names.

    Smooth shapes under some noise, so that they cost about as much to decode as photographs do.
    """
    random = np.random.default_rng(0)
    files = []
    for number in range(different):
        shapes = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(shapes).resize(SIZE, Image.Resampling.BICUBIC))
        noise = random.normal(0, 9, image.shape)
        files.append(folder / f"{number}.JPEG")
        Image.fromarray((image + noise).clip(0, 255).astype(np.uint8)).save(
            files[-1], quality=QUALITY
        )
    for split in ("train", "val"):
        for label in range(CLASSES):
            path = folder / split / f"n{label:08}"
            path.mkdir(parents=True)
            os.link(files[label % different], path / "0.JPEG")


def loading_rate(cfg: Config, workers: int, batch: int, seconds: float) -> float:
    """Images per second of the training loader of ``cfg``, batches of ``batch``, over at least so
    many seconds; 0 workers: in this process, one core. The first batches, which start the workers,
    don't count."""
    settings: Mapping = dict(cfg.train_dataloader, batch_size=batch, num_workers=workers)
    loader = Runner.build_dataloader({**settings, "persistent_workers": workers > 0}, seed=0)
    skipped, images, start = max(1, 2 * workers), 0, 0.0
    while True:  # epoch after epoch
        for data in loader:
            if skipped:
                skipped -= 1
                start = time.perf_counter()
                continue
            images += len(data["inputs"])
            taken = time.perf_counter() - start
            if taken >= seconds:
                return images / taken
