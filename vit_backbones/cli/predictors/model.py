"""What all predictors share: the model, its test pipeline and its classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope

from ...datasets.channels import reads_files, starts_from_rgb
from ...datasets.on_disk import leaf_datasets
from ...errors import UserError
from ...swap import library_of
from ...visualization.canvas import Color, class_colors
from ..weights import load_weights


def choose_device(device: str | None) -> torch.device:
    """Raises:
    UserError: There is no such device here.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {device} can't be used: {reason}") from error
    return chosen


@contextmanager
def preparing(path: Path, image: np.ndarray) -> Iterator[None]:
    """While a pipeline brings an image into the model's form: what ends it is a UserError about
    this image."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = re.sub(r"^OpenCV\(.*? error: (\(.*?\) )?", "OpenCV asks for ", reason)
        height, width = image.shape[:2]
        raise UserError(
            f"{path} can't be processed: of {width} x {height} pixels, it does not go through the "
            f"config's pipeline ({reason})"
        ) from error


def check_same_size(path: Path, image: np.ndarray, loaded: Sequence[int]) -> None:
    """Raise a UserError where a pipeline loaded an image of another (height, width), on which what
    was found can't be drawn: it leaves it as the camera was held, say."""
    if tuple(loaded[:2]) != image.shape[:2]:
        sizes = [" x ".join(map(str, size[1::-1])) for size in (image.shape, loaded)]
        raise UserError(
            f"{path} is of {sizes[0]} pixels, and the config's pipeline loads it as {sizes[1]}: "
            "without its EXIF orientation (color_type), or otherwise changed. Turn the image itself"
        )


class TrainedModel:
    """A model with its weights, fed by its config's own test pipeline.

    Attributes:
        classes: Their names, from the checkpoint, else from the config's data set; may be empty.
        palette: Their colours, RGB, from the same place; None where there are none.

    Raises:
        UserError: The config describes no test data, or the checkpoint does not fit it.
    """

    def __init__(self, cfg: Config, checkpoint: str, device: str | None = None) -> None:
        self.device = choose_device(device)
        dataset = next(leaf_datasets(cfg.get("test_dataloader")), None)
        if dataset is None or not dataset.get("pipeline"):
            raise UserError(f"{cfg.filename} has no test_dataloader with a pipeline to load images")
        scope = library_of(cfg)
        init_default_scope(scope)
        registry = import_module(f"{scope}.registry")
        preprocessor = cfg.get("data_preprocessor")  # mmpretrain's configs have it there
        parts = dict(data_preprocessor=preprocessor) if preprocessor else {}
        model = revert_sync_batchnorm(registry.MODELS.build({**parts, **cfg.model}))
        meta = load_weights(model, checkpoint).get("dataset_meta") or {}
        self.model = model.to(self.device).eval()
        self.pipeline = Compose(
            [step for step in dataset.pipeline if "Annotations" not in str(step["type"])]
        )
        to_rgb = getattr(model.data_preprocessor, "to_rgb", False)
        # of the pixels that a pipeline begins with; None: it loads them from a file
        self.from_rgb = (
            None if reads_files(dataset.pipeline) else starts_from_rgb(dataset.pipeline, to_rgb)
        )
        described = data_set_meta(dataset, registry.DATASETS)
        self.classes: Sequence[str] = meta.get("classes") or described.get("classes") or ()
        self.palette = meta.get("palette") or described.get("palette")

    @torch.no_grad()
    def __call__(self, path: Path, image: np.ndarray) -> Any:
        """The library's data sample with the prediction for the image at ``path``, whose pixels
        are (H, W, 3), uint8, RGB.

        Raises:
            UserError: The pipeline can't process it.
        """
        sample = dict(img_path=str(path), img_id=0)
        if self.from_rgb is not None:
            pixels = image if self.from_rgb else np.ascontiguousarray(image[..., ::-1])
            size = image.shape[:2]
            sample.update(img=pixels, img_shape=size, ori_shape=size)
        with preparing(path, image):
            sample = self.pipeline(sample)
        (result,) = self.model.test_step(pseudo_collate([sample]))
        return result.cpu()

    def name(self, label: int) -> str:
        return str(self.classes[label]) if label < len(self.classes) else f"class {label}"

    def colors(self, highest: int = 0) -> list[Color]:
        """Of the classes, and of those up to ``highest`` where the names are not known."""
        number = max(len(self.classes), highest + 1)
        return class_colors([self.name(label) for label in range(number)], self.palette)


def data_set_meta(dataset: Mapping[str, Any], registry: Any) -> dict[str, Any]:
    """What a data set's config, else its class, says about the classes; no data is read."""
    built = registry.get(dataset["type"]) if isinstance(dataset["type"], str) else dataset["type"]
    return {**getattr(built, "METAINFO", {}), **(dataset.get("metainfo") or {})}
