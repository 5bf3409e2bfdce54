"""Prediction: what a trained model says about images."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
from rich.console import Console

from ..errors import UserError
from ..visualization.predictions import unused_path
from .config import read_config
from .predictors import load_predictor

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


def predict(args: Namespace) -> None:
    """Run ``tools/predict.py``: a table for each image and, with ``--out``, a picture.

    An image that can't be read is named on stderr, and the others go on.

    Raises:
        UserError: A file is missing, the checkpoint does not fit the config, or at last some of
            the images could not be read.
    """
    cfg = read_config(args.config, args.cfg_options)
    if args.top is not None and args.top < 1:
        raise UserError(f"--top: expected 1 or more, got {args.top}")
    paths = image_paths(args.images)
    predictor = load_predictor(cfg, args.checkpoint, args.device, args.top, args.score_thr)
    console, unread = Console(), []
    for path in paths:
        try:
            image = read_image(path)
        except UserError as error:
            print(error, file=sys.stderr)
            unread.append(path)
            continue
        prediction = predictor(path, image)
        console.print(f"\n{path}", soft_wrap=True)
        console.print(prediction.table())
        if args.out:
            folder = Path(args.out)
            folder.mkdir(parents=True, exist_ok=True)
            picture = unused_path(folder, path.stem)
            prediction.figure().savefig(picture)
            console.print(f"Picture: {picture}", soft_wrap=True)
    if unread:
        raise UserError(f"{len(unread)} of {len(paths)} images can't be read; see above")


def image_paths(names: list[str]) -> list[Path]:
    """Files, and the images in folders.

    Raises:
        UserError: One does not exist, or a folder holds no image.
    """
    paths: list[Path] = []
    for path in map(Path, names):
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not found:
                raise UserError(f"no image in the folder {path}")
            paths += found
        elif path.is_file():
            paths.append(path)
        else:
            raise UserError(f"no image at {path}")
    return paths


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3), uint8, RGB.

    Raises:
        UserError: The file can't be read as an image.
    """
    import mmcv

    try:
        image = mmcv.imread(str(path), channel_order="rgb")
    except Exception as error:
        raise UserError(f"{path} can't be read as an image: {error}") from error
    if image is None:
        raise UserError(f"{path} can't be read as an image; is it complete?")
    return image
