"""Demo data that needs no download."""

from .digits import Digits

__all__ = ["Digits"]
