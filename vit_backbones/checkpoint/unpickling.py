"""Pickles read with nothing but what is on a list: no code of theirs runs."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ..errors import UserError


class RestrictedUnpickler(pickle.Unpickler):
    """Reads plain Python and what ``ALLOWED`` has by its full name.

    Raises:
        NotAllowed: The pickle asks for something else.
    """

    ALLOWED: ClassVar[Mapping[str, Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{module.replace('numpy._core', 'numpy.core')}.{name}"
        if full_name not in self.ALLOWED:
            raise NotAllowed(f"{module}.{name}")
        return self.ALLOWED[full_name]


class NotAllowed(Exception):
    """A pickle asks for something that weights don't need; the message is its name."""


def holds_code(path: str | Path, name: str) -> UserError:
    """The refusal of a file that asks for ``name``."""
    return UserError(
        f"{path} was not opened: besides weights it holds {name}, whose loading could run code "
        "from the file. Ask its author for the weights alone, or for a .safetensors file"
    )
