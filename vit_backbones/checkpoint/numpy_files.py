"""Files of numpy's arrays: Google's .npz, detectron2's pickles."""

from __future__ import annotations

import codecs
import collections
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .unpickling import NotAllowed, RestrictedUnpickler, holds_code


def read_npz(archive: zipfile.ZipFile) -> dict[str, Tensor]:
    """The arrays by name; a UserError where one claims more than it has."""
    arrays = {}
    for member in archive.infolist():
        data = io.BytesIO(archive.read(member))  # of the size that the archive claims at most
        version = np.lib.format.read_magic(data)
        read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
        shape, _, dtype = read_header(data)
        if dtype.itemsize * np.prod(shape, dtype=object) != member.file_size - data.tell():
            raise UserError(
                f"{archive.filename} was not opened: {member.filename} in it claims to be {dtype} "
                f"of shape {shape}, but has {member.file_size - data.tell()} bytes"
            )
        data.seek(0)
        arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(data)
    return _to_tensors(arrays)


class _ArrayUnpickler(RestrictedUnpickler):
    """Reads dicts, lists, strings, numbers and numpy's arrays, nothing else."""

    ALLOWED = {
        "collections.OrderedDict": collections.OrderedDict,
        "_codecs.encode": codecs.encode,  # bytes, in old protocols
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
        "numpy.core.multiarray._reconstruct": np.zeros(0).__reduce__()[0],
        "numpy.core.multiarray.scalar": np.float64(0).__reduce__()[0],
    }


def read_pickled_arrays(path: Path) -> Any:
    """detectron2's files; a UserError where one asks for more than arrays."""
    with path.open("rb") as file:
        try:
            return _to_tensors(_ArrayUnpickler(file, encoding="latin1").load())
        except NotAllowed as error:
            raise holds_code(path, str(error)) from error


def _to_tensors(content: Any) -> Any:
    """Numpy's arrays of numbers, in nested dicts too, as tensors."""
    if isinstance(content, Mapping):
        return {name: _to_tensors(value) for name, value in content.items()}
    if not isinstance(content, np.ndarray):
        return content
    if content.dtype.kind == "V" and content.dtype.itemsize == 2:  # bfloat16, unknown to numpy
        return torch.from_numpy(content.view(np.int16).copy()).view(torch.bfloat16)
    if content.dtype.kind in "biufc":
        return torch.from_numpy(content.astype(content.dtype.newbyteorder("="), order="C"))
    return content
