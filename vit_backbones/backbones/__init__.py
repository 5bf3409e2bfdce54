"""The encoders; importing this package registers them."""

from .mvit import MViT
from .swin import SwinTransformer
from .vit import VisionTransformer

__all__ = ["MViT", "SwinTransformer", "VisionTransformer"]
