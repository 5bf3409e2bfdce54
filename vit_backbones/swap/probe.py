"""What a backbone and a neck put out, found by running them without data."""

from __future__ import annotations

import copy
import importlib
import inspect
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from ..errors import UserError
from ..registry import SCOPE, type_name
from .report import brief

# a multiple of 128 and of 14 * 64, so that all usual strides divide it
SIDE = 896
# settings that change no shape and may need a compiled op, a download or a GPU
UNSEEN = ("init_cfg", "pretrained", "dcn", "stage_with_dcn", "with_cp")


class Level(NamedTuple):
    """One output: its channels, and how many pixels of the image one of its pixels is wide (0 where
    it is a vector)."""

    channels: int
    stride: float


def build(cfg: Any, library: str | None = None) -> nn.Module:
    """Build a part of a model of ``library`` (None: one of ours), without memory for its weights
    where that works.

    Raises:
        UserError: The library is missing, or the settings can't work.
    """
    if library is not None:
        try:
            importlib.import_module(f"{library}.models")
        except ImportError as error:
            raise UserError(
                f"{library}, whose config this is, can't be imported: {error}"
            ) from error
    cfg = {k: v for k, v in cfg.items() if k not in UNSEEN}
    with DefaultScope.overwrite_default_scope(library or SCOPE):
        try:
            try:
                with torch.device("meta"):
                    module = MODELS.build(copy.deepcopy(cfg))
            except (RuntimeError, NotImplementedError):  # it computes with values, rates say
                module = MODELS.build(copy.deepcopy(cfg))
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{brief(cfg)} can't be built: {reason(error)}") from error
    module.to("meta")  # what torch.Tensor(...) made is on the CPU still
    module.eval()  # in a line of its own: mmdet's ResNet returns None
    return module


def outputs(module: nn.Module, image_side: int = SIDE) -> list[Tensor]:
    """Features, without values, of one image.

    Of a ViT that gives a map together with its class token it is the map.

    Raises:
        UserError: The backbone does not run.
    """
    with torch.no_grad(), torch.device("meta"):
        try:
            return as_list(module(torch.zeros(1, 3, image_side, image_side)))
        except Exception as error:
            raise UserError(f"{type(module).__name__} does not run: {reason(error)}") from error


def as_list(features: Any) -> list[Tensor]:
    """Features as a flat list of tensors; of [map, class token] the first counts."""
    if isinstance(features, Tensor):
        return [features]
    if isinstance(features, Mapping):
        features = list(features.values())
    features = [f[0] if isinstance(f, list | tuple) else f for f in features]
    return [f for f in features if f is not None]  # what is there in training only


def levels(features: list[Tensor], image_side: int = SIDE) -> list[Level]:
    return [
        Level(f.shape[1], image_side / f.shape[-1]) if f.ndim == 4 else Level(f.shape[-1], 0)
        for f in features
    ]


def image_side(backbone: Mapping, default: int = SIDE) -> int:
    """The size of image that a backbone runs on: any, or the one that its config names, or (Swin,
    whose windows must not exceed the map) any from there on: a multiple of the default."""
    size = backbone.get("img_size", None)
    if size is None:
        return default
    side = size if isinstance(size, int) else size[0]
    takes_any = type_name(backbone) in ("VisionTransformer", "SwinTransformer", "MViT")
    return math.ceil(side / default) * default if takes_any else side


def is_convolutional(module: nn.Module) -> bool:
    """Whether it has convolutions and, as no transformer that we know of, no layer norms."""
    modules = list(module.modules())
    return any(isinstance(m, nn.modules.conv._ConvNd) for m in modules) and not any(
        isinstance(m, nn.LayerNorm) for m in modules
    )


def takes_neck(model: Mapping, library: str) -> bool:
    """Whether this kind of model can have one."""
    kind = model["type"]
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(library) as registry:
            kind = registry.get(kind)
    return "neck" in inspect.signature(kind).parameters


def reason(error: Exception) -> str:
    """What an error says, or that it says nothing."""
    return str(error).strip() or f"{type(error).__name__}, without a reason"
