"""What a swap changed in a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..registry import type_name


class _Absent:
    def __repr__(self) -> str:
        return "(none)"


ABSENT = _Absent()


@dataclass
class SwapReport:
    """What :func:`swap_backbone` changed; ``str()`` is the list for people.

    Attributes:
        changes: Dotted path in the config -> (old value, new value); ``ABSENT`` for none.
        notes: What it did not change and the user may want to know.
    """

    changes: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        width = max(map(len, self.changes), default=0)
        lines = [
            f"  {path:{width}}  {brief(old)} -> {brief(new)}"
            for path, (old, new) in self.changes.items()
        ]
        return "\n".join(["Backbone swapped:", *lines, *(f"  {note}" for note in self.notes)])


def brief(value: Any) -> str:
    """A value on one line; a module's config as a call of it."""
    if isinstance(value, Mapping):
        settings = [f"{k}={brief(v)}" for k, v in value.items() if k != "type"]
        name = type_name(value) or "dict"
        text = f"{name}({', '.join(settings)})"
        return text if len(text) <= 200 else f"{name}(...)"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(brief, value))}]"
    return repr(value)
