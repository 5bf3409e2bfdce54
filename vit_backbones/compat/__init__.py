"""Repairs between OpenMMLab (either stack) and today's PyTorch.

``repair()`` runs when vit_backbones is imported, so importing it first is enough for mmpretrain,
mmdet and mmseg to import. Each repair has its file, its condition and its reason;
``python -m vit_backbones.compat`` shows what they did.
"""

import sys

from . import (
    checkpoints,
    config_names,
    config_text,
    deepspeed,
    flexible_runner,
    fsdp,
    mmcv_ops,
    mmcv_version,
    transformers_names,
)
from .inventory import remedy, take_inventory
from .repair import Repair, State

REPAIRS = (
    mmcv_ops.REPAIR,
    mmcv_version.REPAIR,
    checkpoints.REPAIR,
    config_names.REPAIR,
    config_text.REPAIR,
    deepspeed.REPAIR,
    flexible_runner.REPAIR,
    fsdp.REPAIR,
    transformers_names.REPAIR,
)


def repair() -> tuple[Repair, ...]:
    """Run every repair that has not run yet; return all of them with their state.

    Raises:
        ImportError: mmengine is missing or cannot be imported; the message says what to do.
    """
    try:
        import mmengine.runner  # noqa: F401
    except ImportError as error:
        problem = take_inventory().problem or f"{error}. {remedy(error)}"
        if sys.argv[:1] == ["-m"]:  # `python -m vit_backbones.compat`: the message is the report
            raise SystemExit(problem) from error
        raise ImportError(problem) from error
    for item in REPAIRS:
        item.run()
    return REPAIRS


__all__ = ["REPAIRS", "Repair", "State", "repair"]
