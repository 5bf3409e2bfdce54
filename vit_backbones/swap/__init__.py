"""Another encoder in a config of mmdet, mmseg or mmpretrain."""

from .report import SwapReport
from .swap import swap_backbone

__all__ = ["SwapReport", "swap_backbone"]
