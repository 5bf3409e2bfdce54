"""Prediction: what a trained model says about images."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
from rich.console import Console

from ..errors import UserError
from ..files import make_folder, write_figure
from ..visualization.predictions import unused_path
from .config import read_config
from .predictors import load_predictor

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


def predict(args: Namespace) -> None:
    """Run ``tools/predict.py``: a table for each image and, with ``--out``, a picture.

    An image that can't be read, or brought into the model's form, is named on stderr, and the
    others go on.

    Raises:
        UserError: A file is missing, the checkpoint does not fit the config, a picture can't be
            written, or at last some of the images had no prediction.
    """
    cfg = read_config(args.config, args.cfg_options)
    if args.top is not None and args.top < 1:
        raise UserError(f"--top: expected 1 or more, got {args.top}")
    if not 0 <= args.score_thr <= 1:
        raise UserError(f"--score-thr: expected a number from 0 to 1, got {args.score_thr:g}")
    paths = image_paths(args.images)
    folder = make_folder(args.out) if args.out else None
    predictor = load_predictor(cfg, args.checkpoint, args.device, args.top, args.score_thr)
    console, failed = Console(markup=False, emoji=False), 0
    for path in paths:
        try:
            prediction = predictor(path, read_image(path))
        except UserError as error:
            print(error, file=sys.stderr)
            failed += 1
            continue
        console.print(f"\n{path}", soft_wrap=True)
        console.print(prediction.table())
        if folder:
            picture = unused_path(folder, path.stem)
            write_figure(picture, prediction.figure())
            console.print(f"Picture: {picture}", soft_wrap=True)
    if failed:
        raise UserError(f"{failed} of {len(paths)} images can't be read or processed; see above")


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
    import cv2
    import mmcv

    try:
        if not path.stat().st_size:
            raise UserError(f"{path} can't be read as an image: the file is empty, 0 bytes")
        image = mmcv.imread(str(path), channel_order="rgb")
    except OSError as error:
        raise UserError(f"{path} can't be read as an image: {error.strerror or error}") from error
    except cv2.error:  # it swaps the channels of what it did not decode
        image = None
    if image is None:
        raise UserError(
            f"{path} can't be read as an image: it is damaged, cut short, too large or of an "
            "unknown format"
        )
    return image
