"""Prediction: the most probable classes of images."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from rich.console import Console
from rich.table import Table

from ..datasets.channels import starts_from_rgb
from ..errors import UserError
from ..visualization.predictions import draw_prediction, unused_path
from .config import read_config
from .weights import load_weights

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


def predict(args: Namespace) -> None:
    """Run ``tools/predict.py``: a table for each image and, with ``--out``, a picture.

    Raises:
        UserError: A file is missing or can't be read, or the checkpoint does not fit the config.
    """
    cfg = read_config(args.config, args.cfg_options)
    paths = image_paths(args.images)
    images = [read_image(path) for path in paths]
    classifier = Classifier(cfg, args.checkpoint, args.device)
    console = Console()
    for path, image in zip(paths, images):
        names, probabilities = classifier(image, args.top)
        console.print(f"\n{path}", soft_wrap=True)
        console.print(prediction_table(names, probabilities))
        if args.out:
            folder = Path(args.out)
            folder.mkdir(parents=True, exist_ok=True)
            picture = unused_path(folder, path.stem)
            figure = draw_prediction(image[..., ::-1], names, probabilities, path.name)
            figure.savefig(picture)
            console.print(f"Picture: {picture}", soft_wrap=True)


class Classifier:
    """An mmpretrain classifier with its weights and its test pipeline.

    Raises:
        UserError: The config is not for mmpretrain, or the checkpoint does not fit.
    """

    def __init__(self, cfg: Config, checkpoint: str, device: str | None = None) -> None:
        if cfg.get("default_scope") != "mmpretrain":
            raise UserError(
                f"tools/predict.py shows the classes of images, with configs of mmpretrain; "
                f"{cfg.filename} is for {cfg.get('default_scope', 'none of its libraries')}"
            )
        from mmpretrain import ImageClassificationInferencer, get_model

        model = get_model(cfg, pretrained=False)
        meta = load_weights(model, checkpoint)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.inferencer = ImageClassificationInferencer(model, pretrained=False, device=device)
        # the checkpoint knows best; a config alone tells the names only through its data set
        self.classes = meta.get("dataset_meta", {}).get("classes") or self.inferencer.classes
        self.rgb = starts_from_rgb(
            cfg.test_dataloader.dataset.pipeline, getattr(model.data_preprocessor, "to_rgb", False)
        )

    def __call__(self, image: np.ndarray, top: int = 5) -> tuple[list[str], list[float]]:
        """Image (H, W, 3), uint8, BGR -> names and probabilities of the ``top`` classes."""
        if self.rgb:
            image = np.ascontiguousarray(image[..., ::-1])
        (batch,) = self.inferencer.preprocess([image])
        (sample,) = self.inferencer.forward(batch)
        probabilities, labels = sample.pred_score.topk(min(top, len(sample.pred_score)))
        return [self.name(label) for label in labels.tolist()], probabilities.tolist()

    def name(self, label: int) -> str:
        return str(self.classes[label]) if self.classes else f"class {label}"


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
    """(H, W, 3), uint8, BGR.

    Raises:
        UserError: The file can't be read as an image.
    """
    import mmcv

    try:
        image = mmcv.imread(str(path))
    except Exception as error:
        raise UserError(f"{path} can't be read as an image: {error}") from error
    if image is None:
        raise UserError(f"{path} can't be read as an image; is it complete?")
    return image


def prediction_table(names: list[str], probabilities: list[float]) -> Table:
    table = Table()
    table.add_column("class")
    table.add_column("probability", justify="right")
    table.add_column("", width=20)
    for rank, (name, probability) in enumerate(zip(names, probabilities)):
        bar = "█" * round(20 * probability)
        table.add_row(name, f"{probability:.1%}", bar, style="bold" if rank == 0 else "")
    return table
