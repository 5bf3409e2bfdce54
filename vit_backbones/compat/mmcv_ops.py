"""mmcv without compiled ops: a stand-in for ``mmcv._ext``.

Neither onedl-mmcv nor mmcv-lite brings the compiled module. Without it ``import mmdet.models`` and
``import mmseg.models`` fail with ``No module named 'mmcv._ext'``, although the usual detectors need
only a few of its many ops.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

from .repair import Repair, State

MODULE = "mmcv._ext"
STAND_IN = Path(__file__).with_name("mmcv_ext.py")
STANDS_IN_FOR = (
    "nms",
    "softnms",
    "nms_match",
    "roi_align",
    "ms_deform_attn",
    "sigmoid_focal_loss",
    "deform_conv",
    "modulated_deform_conv",
)


class _LastResort(MetaPathFinder):
    """Last in ``sys.meta_path``: asked only where nobody else has a compiled ``mmcv._ext``."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname != MODULE:
            return None
        REPAIR.set(State.APPLIED, f"stand-in by torchvision and torch: {', '.join(STANDS_IN_FOR)}")
        return spec_from_file_location(MODULE, STAND_IN)


def _install(repair: Repair) -> None:
    sys.meta_path.append(_LastResort())
    repair.set(State.WAITING, "until mmcv.ops is imported")


REPAIR = Repair(
    name="mmcv without compiled ops",
    why="mmdet and mmseg cannot be imported without mmcv._ext, which pip does not bring",
    install=_install,
)
