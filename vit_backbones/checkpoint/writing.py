"""Writing weights: a whole file or folder under its name, or nothing."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ..errors import UserError
from ..files import PARTIAL_SUFFIX, ended_in_order, explained, make_folder, write_atomically

SUFFIXES = (".pth", ".safetensors")


def to_bytes(state: Mapping[str, Tensor], suffix: str, extra: Mapping[str, Any] = {}) -> bytes:
    """A file of weights.

    Args:
        state: Weights by name.
        suffix: '.safetensors', or '.pth' for torch.save.
        extra: What else a .pth holds: then it is ``{'state_dict': state, **extra}``, as OpenMMLab's
            are.
    """
    # pieces of one tensor would take all of it along, each
    state = {
        name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, t in state.items()
    }
    if suffix == ".safetensors":
        return safetensors.torch.save(state, metadata={"format": "pt"})
    buffer = io.BytesIO()
    torch.save({"state_dict": state, **extra} if extra else state, buffer)
    return buffer.getvalue()


def check_new(path: str | Path, force: bool) -> Path:
    """The path, where something may be written.

    Raises:
        UserError: Something is there already, and ``force`` does not allow to replace it.
    """
    path = Path(path)
    taken = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    if taken and not force:
        raise UserError(f"{path} exists already; take another name, or replace it with --force")
    return path


def write_file(path: str | Path, data: bytes, force: bool = False) -> None:
    """Write a file whole or not at all.

    Raises:
        UserError: It exists (without ``force``), or can't be written.
    """
    path = check_new(path, force)
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file")
    with ended_in_order():
        write_atomically(path, data)


@contextmanager
def new_folder(path: str | Path, force: bool = False, mark: str = "") -> Iterator[Path]:
    """A folder to write into that gets the name ``path`` when all went well, else is removed.

    With ``force`` it replaces a folder of that name that holds a file ``mark``, so that no other
    folder is lost; until then that stays as it was.

    Raises:
        UserError: There is something of that name (without ``force``), or no folder can be made.
    """
    path = check_new(path, force).absolute()
    if path.is_file():
        raise UserError(f"{path} is a file; give the name of a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / mark).is_file():
        raise UserError(
            f"{path} has no {mark} in it, so it is no folder of this kind, and --force does not "
            "replace it; take another name"
        )
    make_folder(path.parent)
    with explained(path), ended_in_order():
        partial = Path(
            tempfile.mkdtemp(prefix=f".{path.name}.", suffix=PARTIAL_SUFFIX, dir=path.parent)
        )
        try:
            partial.chmod(0o777 & ~_umask())  # mkdtemp's are for their owner alone
            yield partial
            if path.is_dir():
                old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
                os.replace(path, old)
                try:
                    os.replace(partial, path)
                except BaseException:
                    os.replace(old, path)
                    raise
                shutil.rmtree(old)
            else:
                os.replace(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
