"""Another encoder in a config of mmdet, mmseg or mmpretrain."""

from .draft import value_at
from .report import SwapReport
from .swap import find_model, library_of, swap_backbone

__all__ = ["SwapReport", "find_model", "library_of", "swap_backbone", "value_at"]
