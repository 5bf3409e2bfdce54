"""A user's mistake ends a command with one message; a fault of the program keeps its traceback."""

from __future__ import annotations

import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

from ..errors import UserError, nearest


def run(main: Callable[[], None]) -> None:
    """Call ``main``; on a user's mistake print its message and exit with status 2."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        if os.environ.get("LOCAL_RANK", "0") == "0":  # once for all processes of a machine
            print(message, file=sys.stderr)
        sys.exit(2)


def explain(error: Exception) -> str | None:
    """The message for a user whose mistake ``error`` is; None when it isn't one.

    Besides our own UserError these are: a type that no registry knows, an argument that a class
    doesn't take, a value that it refuses, all from a config; and a data set that can't be opened.
    """
    if isinstance(error, UserError):
        return str(error)
    frame = _innermost_build(error)
    if frame is None:
        return None
    registry, built = frame.f_locals["registry"], frame.f_locals.get("obj_cls")
    if built is None:
        wanted = frame.f_locals.get("obj_type")
        if not isinstance(error, KeyError) or not isinstance(wanted, str):
            return None
        hint = nearest(wanted.rsplit(".", 1)[-1], _known_names(registry))
        return f"type='{wanted}' in the config: there is no such {registry.name}{hint}"

    name = getattr(built, "__name__", str(built))
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if isinstance(error, TypeError) and unexpected and unexpected[1] in frame.f_locals["args"]:
        known = _argument_names(built)
        hint = nearest(unexpected[1], known) or f"; it takes {', '.join(known)}"
        return f"type='{name}' in the config has no argument '{unexpected[1]}'{hint}"
    missing = re.search(r"missing \d+ required .*argument", str(error))
    refused = isinstance(error, AssertionError | ValueError) and str(error)
    unread = registry.name == "dataset" and isinstance(error, OSError | RuntimeError)
    if refused or unread or (isinstance(error, TypeError) and missing):
        return f"type='{name}' in the config: {error}"
    return None


def _innermost_build(error: Exception) -> FrameType | None:
    """The frame in which mmengine was building the object that failed, if it was."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    builds = [
        f for f in frames if f.f_code.co_name == "build_from_cfg" and "registry" in f.f_locals
    ]
    return builds[-1] if builds else None


def _known_names(registry: Any) -> list[str]:
    names = list(registry.module_dict)
    while registry.parent is not None:
        registry = registry.parent
        names += registry.module_dict
    for child in registry.children.values():
        names += child.module_dict
    return names


def _argument_names(built: Any) -> list[str]:
    classes = inspect.getmro(built) if inspect.isclass(built) else [built]
    names: dict[str, None] = {}
    for cls in classes:
        function = cls.__dict__.get("__init__") if inspect.isclass(cls) else cls
        if inspect.isfunction(function):
            names |= dict.fromkeys(inspect.signature(function).parameters)
    return [name for name in names if name not in ("self", "args", "kwargs")]
