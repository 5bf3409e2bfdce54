"""Demo data that needs no download."""

from .digits import Digits
from .random_ground import RandomGround

__all__ = ["Digits", "RandomGround"]
