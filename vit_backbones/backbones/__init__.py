"""The encoders; importing this package registers them."""

from .mvit import MViT
from .vit import VisionTransformer

__all__ = ["MViT", "VisionTransformer"]
