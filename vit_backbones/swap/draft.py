"""A copy of a config under change, with a record of the changes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from .report import ABSENT, SwapReport


class Draft:
    """Edits go to a copy; ``commit`` puts them into the user's config, all or none.

    Paths are dotted, list indices included: ``model.auxiliary_head.0.in_channels``.
    """

    def __init__(self, cfg: Config) -> None:
        self.original = cfg
        self.cfg = copy.deepcopy(cfg)
        self.report = SwapReport()

    def get(self, path: str, default: Any = None) -> Any:
        return value_at(self.cfg, path, default)

    def set(self, path: str, value: Any) -> None:
        """Put ``value`` at ``path``, whose parent exists, and record it if it is new."""
        old = self.get(path, ABSENT)
        if old is not ABSENT and _plain(old) == _plain(value):
            return
        parent, _, key = path.rpartition(".")
        node = self.get(parent) if parent else self.cfg
        if isinstance(node, list):
            node[int(key)] = value
        else:
            node[key] = ConfigDict(value) if isinstance(value, Mapping) else value
        old = self.report.changes.get(path, (old,))[0]  # of two changes, the first's
        self.report.changes[path] = (old, value)

    def drop(self, path: str) -> None:
        """Remove the key at ``path``, if it is there."""
        old = self.get(path, ABSENT)
        if old is ABSENT:
            return
        parent, _, key = path.rpartition(".")
        (self.get(parent) if parent else self.cfg).pop(key)
        self.report.changes[path] = (old, ABSENT)

    def note(self, text: str) -> None:
        self.report.notes.append(text)

    def dicts(self, path: str) -> Iterator[tuple[str, dict]]:
        """Every dict at and below ``path``, with its path, outer ones first."""
        node = self.get(path)
        if isinstance(node, Mapping):
            yield path, node
            keys = list(node)
        else:
            keys = range(len(node)) if isinstance(node, list | tuple) else ()
        for key in keys:
            if isinstance(_child(node, str(key)), Mapping | list | tuple):
                yield from self.dicts(f"{path}.{key}")

    def commit(self) -> SwapReport:
        for key in {path.split(".")[0] for path in self.report.changes}:
            if key in self.cfg:
                self.original[key] = self.cfg[key]
            else:
                self.original.pop(key)
        return self.report


def value_at(cfg: Config, path: str, default: Any = None) -> Any:
    """What a config has at a dotted path."""
    node: Any = cfg
    for key in path.split("."):
        node = _child(node, key)
        if node is ABSENT:
            return default
    return node


def _child(node: Any, key: str) -> Any:
    if isinstance(node, list | tuple):
        return node[int(key)] if key.isdecimal() and int(key) < len(node) else ABSENT
    if isinstance(node, Mapping | Config):
        return node[key] if key in node else ABSENT
    return ABSENT


def _plain(value: Any) -> Any:
    """For comparison: tuples and lists are alike, as in a config file."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
