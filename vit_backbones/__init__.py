"""ViT, Swin and multiscale ViT encoders for mmpretrain, mmdet and mmseg."""

from .backbones import VisionTransformer
from .backbones.presets import build_backbone, list_backbones
from .errors import UserError
from .version import __version__

__all__ = [
    "UserError",
    "VisionTransformer",
    "__version__",
    "build_backbone",
    "list_backbones",
]
