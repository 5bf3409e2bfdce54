"""ViT, Swin and multiscale ViT encoders for mmpretrain, mmdet and mmseg."""

# ruff: noqa: E402  (the repairs come before every other import)

from . import compat

compat.repair()

from . import datasets, engine, necks  # noqa: F401  (registers them)
from .backbones import MViT, SwinTransformer, VisionTransformer
from .backbones.presets import build_backbone, list_backbones
from .checkpoint import LoadReport, load_checkpoint
from .errors import UserError
from .necks import SimpleFeaturePyramid
from .swap import swap_backbone
from .version import __version__

__all__ = [
    "LoadReport",
    "MViT",
    "SimpleFeaturePyramid",
    "SwinTransformer",
    "UserError",
    "VisionTransformer",
    "__version__",
    "build_backbone",
    "list_backbones",
    "load_checkpoint",
    "swap_backbone",
]
