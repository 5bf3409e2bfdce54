"""Repairs between OpenMMLab (either stack) and today's PyTorch.

``repair()`` runs when vit_backbones is imported, so importing it first is enough for mmpretrain,
mmdet and mmseg to import. Each repair has its file, its condition and its reason;
``python -m vit_backbones.compat`` shows what they did.
"""

from . import checkpoints, mmcv_ops, mmcv_version, transformers_names
from .repair import Repair, State

REPAIRS = (
    mmcv_ops.REPAIR,
    mmcv_version.REPAIR,
    checkpoints.REPAIR,
    transformers_names.REPAIR,
)


def repair() -> tuple[Repair, ...]:
    """Run every repair that has not run yet; return all of them with their state."""
    for item in REPAIRS:
        item.run()
    return REPAIRS


__all__ = ["REPAIRS", "Repair", "State", "repair"]
