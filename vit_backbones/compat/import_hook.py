"""Do something around the import of a module that has not been imported yet.

Importing vit_backbones stays cheap this way: a repair of mmdet or transformers costs nothing before
these libraries are imported, and nothing at all where they are not installed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Context = Callable[[], AbstractContextManager[None]]


class _AroundImport(MetaPathFinder):
    def __init__(self, name: str, context: Context) -> None:
        self.name, self.context = name, context

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        others = (f for f in sys.meta_path if f is not self and hasattr(f, "find_spec"))
        found = (spec for f in others if (spec := f.find_spec(fullname, path, target)))
        spec = next(found, None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            with self.context():
                execute(module)

        spec.loader.exec_module = exec_module
        return spec


def around_import(name: str, context: Context) -> None:
    """Enter ``context()`` while the module ``name`` runs for the first time."""
    if name not in sys.modules:
        sys.meta_path.insert(0, _AroundImport(name, context))
