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
from .processes import end_with_the_other, has_lost_another, leave_reason


def run(main: Callable[[], None]) -> None:
    """Call ``main``; on a user's mistake print its message and exit with status 2."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if has_lost_another(error):
            end_with_the_other()
        leave_reason(error)
        message = explain(error)
        if message is None:
            raise
        if os.environ.get("LOCAL_RANK", "0") == "0":  # once for all processes of a machine
            print(message, file=sys.stderr)
        sys.exit(2)


def explain(error: Exception) -> str | None:
    """The message for a user whose mistake ``error`` is; None when it isn't one.

    Besides our own UserError these are: a type that no registry knows, an argument that a class
    doesn't take, a value that it refuses, all from a config; a data set that can't be opened; and a
    missing compiler.
    """
    if isinstance(error, UserError):
        # one raised in a data loader's worker arrives wrapped in that worker's traceback
        return str(error).rsplit("UserError: ", 1)[-1]
    if re.search(
        "InvalidCxxCompiler|Failed to find C compiler", str(error)
    ):  # inductor's, triton's
        return "--compile needs a C++ compiler, and there is none; install g++ or train without it"
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    builds = [frame for frame in frames if _is_build(frame)]
    if isinstance(error, TypeError) and (message := _unexpected_argument(error, builds, frames)):
        return message
    if not builds:
        return _refused_by_mmengine(error, frames[-1])
    if builds[-1].f_locals.get("obj_cls") is None:
        return _unknown_type(error, builds[-1])
    return _refused(error, builds[-1], frames[-1])


def _is_build(frame: FrameType) -> bool:
    """Whether in this frame mmengine builds an object from a config."""
    return frame.f_code.co_name == "build_from_cfg" and "registry" in frame.f_locals


def _in_mmengine(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").startswith("mmengine.")


def _unexpected_argument(
    error: TypeError, builds: list[FrameType], frames: list[FrameType]
) -> str | None:
    pattern = r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'"
    if not (found := re.search(pattern, str(error))):
        return None
    name, argument = found.groups()
    if builds and argument in builds[-1].f_locals["args"]:
        built = builds[-1].f_locals["obj_cls"]
        name = getattr(built, "__name__", name)
    elif _in_mmengine(frames[-1]):  # it passes on what the config says, a loop's settings say
        built = frames[-1].f_globals.get(name)
    else:
        return None
    known = _argument_names(built) if built else []
    hint = nearest(argument, known) or (f"; it takes {', '.join(known)}" if known else "")
    return f"{name} in the config has no argument '{argument}'{hint}"


def _unknown_type(error: Exception, build: FrameType) -> str | None:
    registry, wanted = build.f_locals["registry"], build.f_locals.get("obj_type")
    if not isinstance(error, KeyError) or not isinstance(wanted, str):
        return None
    hint = nearest(wanted.rsplit(".", 1)[-1], _known_names(registry))
    return f"type='{wanted}' in the config: there is no such {registry.name}{hint}"


def _refused_by_mmengine(error: Exception, last: FrameType) -> str | None:
    """A loop or a schedule, which mmengine builds without a registry, does not like its values."""
    if not _in_mmengine(last) or last.f_code.co_name != "__init__" or "self" not in last.f_locals:
        return None
    name = type(last.f_locals["self"]).__name__
    wrong = isinstance(error, AssertionError | ValueError) and str(error)
    return f"{name} in the config: {error}" if wrong else None


def _refused(error: Exception, build: FrameType, last: FrameType) -> str | None:
    """What was built did not like its arguments, or did not find its data."""
    refused = isinstance(error, AssertionError | ValueError)
    # by the call itself (an argument is missing), or in the constructor's own lines
    refused |= isinstance(error, TypeError) and (last is build or last.f_code.co_name == "__init__")
    is_dataset = build.f_locals["registry"].name == "dataset"
    refused |= is_dataset and isinstance(error, OSError | RuntimeError)
    built = build.f_locals["obj_cls"]
    name = getattr(built, "__name__", str(built))
    if is_dataset and "need at least one array to concatenate" in str(error):  # mmengine's, of none
        file = build.f_locals["args"].get("ann_file") or build.f_locals["args"].get("data_root")
        return (
            f"{name} in the config has no image left ({file}): there are none, or its filter_cfg "
            "leaves all out (images without an object of the classes, or too small)"
        )
    return f"{name} in the config: {error}" if refused and str(error) else None


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
