"""Demo data that needs no download."""

from .digits import Digits
from .many_digits import ManyDigits
from .random_ground import RandomGround

__all__ = ["Digits", "ManyDigits", "RandomGround"]
