"""The encoders; importing this package registers them."""

from .vit import VisionTransformer

__all__ = ["VisionTransformer"]
