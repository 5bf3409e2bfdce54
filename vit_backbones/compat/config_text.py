"""A config's text, formatted once.

mmengine formats it with yapf for the log, for the copy in the work folder, for the visualizer and
for every checkpoint; that of a detector takes a second or more each time.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import wraps
from types import ModuleType
from typing import Any

from .repair import Repair, State

KEPT = 8  # texts


def _user() -> ModuleType:
    """The module whose FormatCode mmengine calls: its own, or (onedl, at every call) yapf's."""
    from mmengine.config import config  # later: mmengine may be missing
    from yapf.yapflib import yapf_api

    return config if hasattr(config, "FormatCode") else yapf_api


def _install(repair: Repair) -> None:
    user = _user()
    format_code, results = user.FormatCode, OrderedDict()

    @wraps(format_code)
    def format_once(text: str, **settings: Any) -> Any:
        key = (text, repr(settings))
        if key not in results:
            results[key] = format_code(text, **settings)
            if len(results) > KEPT:
                results.popitem(last=False)
        return results[key]

    user.FormatCode = format_once
    repair.set(State.APPLIED, f"the last {KEPT} texts are kept")


REPAIR = Repair(
    name="config text",
    why="mmengine formats the config anew for the log, the work folder and every checkpoint",
    install=_install,
)
