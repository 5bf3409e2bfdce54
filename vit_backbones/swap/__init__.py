"""Another encoder in a config of mmdet, mmseg or mmpretrain."""

from .report import SwapReport
from .swap import library_of, swap_backbone

__all__ = ["SwapReport", "library_of", "swap_backbone"]
