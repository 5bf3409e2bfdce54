"""Sharded checkpoints: a folder that every process wrote its part of, read without running code.

The tensors are in PyTorch's own format (torch.distributed.checkpoint), under the names
``state_dict.NAME`` and ``optimizer.PARAMETER.KEY``, so any number of processes can read its parts
of them; what is no tensor is in ``state.pth``. The folder is complete once it has ``.metadata``,
which is written last.
"""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path, PurePath
from typing import Any, NoReturn

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import filesystem, metadata
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner

from ..errors import UserError
from .unpickling import NotAllowed, RestrictedUnpickler, holds_code

WEIGHTS, OPTIMIZER = "state_dict.", "optimizer."
STATE = "state.pth"
METADATA = ".metadata"


def is_sharded(path: str | Path) -> bool:
    """Whether ``path`` is a complete sharded checkpoint."""
    return Path(path, METADATA).is_file() and Path(path, STATE).is_file()


def read_sharded(path: str | Path, weights_only: bool = False) -> dict[str, Any]:
    """A sharded checkpoint as one process would have saved it: all tensors, whole, on the CPU.

    Args:
        weights_only: Leave the states of the optimizer in the files.

    Raises:
        UserError: It is incomplete, damaged, or holds more than tensors and plain Python.
    """
    state = read_state(path)
    tensors = {
        name: torch.empty(size, dtype=dtype)
        for name, (size, dtype) in tensor_sizes(path).items()
        if name.startswith(WEIGHTS) or not weights_only
    }
    read_tensors(path, tensors)
    state["state_dict"] = {
        name.removeprefix(WEIGHTS): tensor
        for name, tensor in tensors.items()
        if name.startswith(WEIGHTS)
    }
    if weights_only:
        state.pop("optimizer", None)
    elif "optimizer" in state:
        fill_optimizer_state(state["optimizer"], tensors)
    return state


def fill_optimizer_state(optimizer: dict[str, Any], tensors: dict[str, Any]) -> None:
    """Put tensors named ``optimizer.PARAMETER.KEY`` back into the state dict of an optimizer."""
    for name, tensor in tensors.items():
        if name.startswith(OPTIMIZER):
            parameter, key = name.removeprefix(OPTIMIZER).rsplit(".", 1)
            optimizer["state"].setdefault(parameter, {})[key] = tensor


def read_state(path: str | Path) -> dict[str, Any]:
    """What is no tensor: progress, schedules, the optimizer's groups, message hub.

    Raises:
        UserError: As `read_sharded`.
    """
    if not is_sharded(path):
        raise UserError(
            f"{path} is no complete sharded checkpoint: it lacks {METADATA} or {STATE}, which are "
            "written last. Take an older one"
        )
    try:
        return torch.load(Path(path, STATE), map_location="cpu", weights_only=True)
    except Exception as error:
        raise _damaged(path, error) from error


def read_tensors(path: str | Path, tensors: dict[str, Any]) -> None:
    """Fill ``tensors`` in place, whole or sharded ones (then all processes take part).

    Raises:
        UserError: As `read_sharded`, or one is missing or of another shape.
    """
    alone = not (torch.distributed.is_available() and torch.distributed.is_initialized())
    whole = all(type(tensor) is Tensor for tensor in tensors.values())
    reader, planner = _Reader(path), _Planner()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            dcp.load(tensors, storage_reader=reader, planner=planner, no_dist=alone or whole)
    except UserError:
        raise
    except dcp.api.CheckpointException as error:  # what the processes ran into, and no Exception
        first = next(iter(error.failures.values()))[0]
        raise first if isinstance(first, UserError) else _damaged(path, first) from first
    except Exception as error:  # parsers of damaged files raise whatever they run into
        raise _damaged(path, error) from error


def tensor_sizes(path: str | Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Size and type of each tensor in a sharded checkpoint.

    Raises:
        UserError: As `read_sharded`, or they claim more memory than the files can fill.
    """
    found = _Reader(path).read_metadata().state_dict_metadata
    sizes = {}
    for name, entry in found.items():
        if not isinstance(entry, metadata.TensorStorageMetadata):
            raise holds_code(path, name)
        sizes[name] = entry.size, entry.properties.dtype
    claimed = sum(math.prod(size) * dtype.itemsize for size, dtype in sizes.values())
    held = sum(file.stat().st_size for file in Path(path).iterdir())
    if claimed > held:  # nothing in it is compressed
        raise UserError(
            f"{path} was not opened: its files of {held:,} bytes claim to hold {claimed:,} bytes "
            "of tensors. One of them is missing or cut short"
        )
    return sizes


class _MetadataUnpickler(RestrictedUnpickler):
    """Reads what torch.distributed.checkpoint says of tensors and files, nothing else."""

    ALLOWED = {
        **{
            f"{module.__name__}.{name}": getattr(module, name)
            for module, names in (
                (
                    metadata,
                    "Metadata MetadataIndex StorageMeta TensorStorageMetadata TensorProperties "
                    "ChunkStorageMetadata BytesStorageMetadata _MEM_FORMAT_ENCODING",
                ),
                (filesystem, "_StorageInfo _StoragePrefix"),
            )
            for name in names.split()
            if hasattr(module, name)
        },
        "torch.Size": torch.Size,
        "torch.serialization._get_layout": torch.serialization._get_layout,
        **{
            f"torch.{name}": value
            for name, value in vars(torch).items()
            if isinstance(value, torch.dtype)
        },
        **dict.fromkeys(("pathlib.PosixPath", "pathlib.WindowsPath"), PurePath),
        **dict.fromkeys(
            ("pathlib._local.PosixPath", "pathlib._local.WindowsPath"),
            PurePath,  # Python 3.13
        ),
    }


class _Reader(dcp.FileSystemReader):
    def read_metadata(self, *args: Any, **kwargs: Any) -> metadata.Metadata:
        path = Path(self.path)
        try:
            with open(path / METADATA, "rb") as file:
                found = _MetadataUnpickler(file).load()
        except NotAllowed as error:
            raise holds_code(path, str(error)) from error
        except Exception as error:
            raise _damaged(path, error) from error
        if not isinstance(found, metadata.Metadata):
            raise UserError(f"{path}: its {METADATA} is not of torch.distributed.checkpoint")
        found.storage_meta = metadata.StorageMeta(load_id=self.load_id)
        return found


class _Planner(DefaultLoadPlanner):
    def load_bytes(self, read_item: Any, value: io.BytesIO) -> NoReturn:
        raise UserError(
            f"{read_item.dest_index.fqn} is a pickle and was not loaded: reading it could run code"
        )


def _damaged(path: str | Path, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(f"{path} can't be read: {reason}. It is damaged, or of another model")
