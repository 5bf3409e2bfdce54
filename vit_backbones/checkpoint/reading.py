"""State dicts out of files, recognised by their content, without running code from them."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ..errors import UserError
from .indexed import files_of, is_index
from .numpy_files import read_npz, read_pickled_arrays
from .sharded import is_sharded, read_sharded
from .sources import locate
from .unpickling import holds_code

# Where projects put the weights in what they save, best first: a moving average or a teacher before
# the raw weights. mmengine's 'ema_state_dict' comes last: its EMAHook swaps the two when it saves,
# so that the average is in 'state_dict'.
WRAPPERS = (
    "model_ema",
    "state_dict_ema",
    "teacher",
    "target_encoder",
    "state_dict",
    "model",
    "model_state",
    "model_state_dict",
    "net",
    "params",
    "weights",
    "student",
    "module",
    "encoder",
    "ema_state_dict",
)
# What torch.compile, FSDP and activation checkpointing put into the names of what they wrap
SHELLS = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
EXPECTED = "expected weights in a .pth, .pt, .bin, .safetensors, .npz or (detectron2) .pkl file"
LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number of torch < 1.6
# Trained weights shrink by a tenth or so; what shrinks a hundredfold was made to fill memory.
MAX_COMPRESSION = 100


def read_source(source: str | Path | Mapping[str, Any]) -> tuple[dict[str, Tensor], str]:
    """The tensors by name of anything that a user may give as a checkpoint, and how to call it.

    Args:
        source: What a file holds, or what :func:`locate` takes.

    Raises:
        UserError: As :func:`locate` and :func:`read_state_dict`.
    """
    if isinstance(source, Mapping):
        return find_weights(source, "the state dict"), "the state dict"
    path = locate(source)
    return read_state_dict(path), str(path)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name.

    Wrappers (``{'state_dict': ...}`` and the like, nested ones too) are opened; of several copies
    of the weights the moving average or the teacher is taken. What torch.compile and FSDP add to
    names is taken off.

    Raises:
        UserError: As :func:`read_checkpoint`, or there are no named tensors in the file.
    """
    state = find_weights(read_checkpoint(path), str(path))
    if Path(path).is_file() and not is_index(path):
        _check_size(Path(path), sum(t.numel() * t.element_size() for t in state.values()))
    return state


def read_checkpoint(path: str | Path) -> Any:
    """All that a file of torch, safetensors, numpy (.npz) or detectron2 (.pkl) holds; of a sharded
    checkpoint (a folder) the weights; of an index (.index.json) those in the files that it names.

    Raises:
        UserError: The file is missing, empty, damaged, not the one that its name promises, of
            another kind, or holds code, which is not run.
    """
    path = Path(path)
    if is_sharded(path):
        return read_sharded(path, weights_only=True)
    if not path.is_file():
        raise UserError(
            f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; {EXPECTED}"
        )
    if is_index(path):
        parts = [read_state_dict(path.parent / name) for name in files_of(path)]
        return {name: tensor for part in parts for name, tensor in part.items()}
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise UserError(f"{path} is empty: 0 bytes. Download or save it again")
    verify_hash(path)
    try:
        if head.startswith(b"PK"):
            return _read_zip(path)
        if head[8:9] == b"{":
            return safetensors.torch.load_file(path)
        if head.startswith(LEGACY_TORCH):
            return _read_torch(path)
        if head.startswith(b"\x80"):
            return read_pickled_arrays(path)
    except UserError:
        raise
    except Exception as error:  # parsers of damaged files raise whatever they run into
        raise UserError(
            f"{path} can't be read: {_reason(error)}. It is damaged, cut short or of another kind; "
            f"{EXPECTED}. Download or save it again"
        ) from error
    content = f"; it begins with the text '{_text(head)}'" if _text(head) else ""
    raise UserError(f"{path} is no checkpoint{content}; {EXPECTED}")


def find_weights(content: Any, source: str) -> dict[str, Tensor]:
    """The state dict in what a checkpoint holds.

    Raises:
        UserError: There are no named tensors in it.
    """
    outer = content
    while isinstance(content, Mapping):
        inner = (content.get(name) for name in WRAPPERS)
        wrapped = next((w for w in inner if isinstance(w, Mapping) and w), None)
        if wrapped is None:
            named = ((str(name), value) for name, value in content.items())
            tensors = {SHELLS.sub("", n): t for n, t in named if isinstance(t, Tensor)}
            for name, tensor in tensors.items():
                if tensor.is_quantized or tensor.layout != torch.strided:
                    raise UserError(
                        f"{source}: {name} is {'quantized' if tensor.is_quantized else 'sparse'}; "
                        "expected dense weights in float32 or half precision"
                    )
            if tensors:
                return tensors
            break
        content = wrapped
    raise UserError(
        f"{source} holds no weights (tensors by name), but {_describe(outer)}. Expected the "
        f"state dict itself, or a dict that has it under one of: {', '.join(WRAPPERS)}"
    )


def check_finite(weights: Mapping[str, Tensor], source: str) -> None:
    """Raise a UserError where a weight is NaN, infinite or complex."""
    for name, tensor in weights.items():
        if tensor.is_complex():
            raise UserError(f"{source}: {name} holds complex numbers, expected real ones")
        if not torch.isfinite(tensor.float() if tensor.itemsize == 1 else tensor).all():
            raise UserError(
                f"{source}: {name} holds NaN or infinite values, so the run that wrote it had "
                "diverged; take an earlier checkpoint"
            )


def verify_hash(path: Path) -> None:
    """Hold a file against the start of its SHA-256 where its name gives that, as the names of
    torchvision's and OpenMMLab's files do: ``name-xxxxxxxx.pth``.

    Raises:
        UserError: The two differ.
    """
    promised = re.search(r"-([0-9a-f]{8,64})\.\w+$", path.name)
    if promised is None or re.fullmatch(r"20\d\d[01]\d[0-3]\d", promised[1]):  # nothing, or a date
        return
    found = sha256(path)
    if not found.startswith(promised[1]):
        raise UserError(
            f"{path} is not the file that its name promises: its SHA-256 begins with "
            f"{found[: len(promised[1])]}, not {promised[1]}. It is damaged or was changed: "
            f"download it again, or, if the change is yours, take '-{promised[1]}' out of the name"
        )


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        _check_size(path, sum(member.file_size for member in archive.infolist()))
        names = archive.namelist()
        if any(name.endswith(".npy") for name in names):
            return read_npz(archive)
    if any(name.endswith("/constants.pkl") for name in names):
        raise UserError(
            f"{path} was not opened: it is a TorchScript program, not a file of weights. Take "
            "the project's state dict or .safetensors file"
        )
    return _read_torch(path)


# What authors save with the weights: the command line (DeiT, MAE, DINO); the config (Swin, SimMIM),
# a dict with attributes, which becomes a plain one
_SETTINGS = [argparse.Namespace, (OrderedDict, "yacs.config.CfgNode")]


def _read_torch(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_SETTINGS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise holds_code(path, found[1]) from error
        raise


def _check_size(path: Path, claimed: int) -> None:
    size = path.stat().st_size
    if claimed > MAX_COMPRESSION * size:
        raise UserError(
            f"{path} was not opened: its {size:,} bytes claim to unpack to {claimed:,}, which no "
            "file of trained weights does"
        )


def _reason(error: Exception) -> str:
    """One line; without torch's advice to load files that could run code."""
    message = str(error).split("WeightsUnpickler error:")[-1].strip()
    return message.splitlines()[0].rstrip(".") if message else type(error).__name__


def _text(head: bytes) -> str:
    """The start of a text file; '' for another file."""
    text = head.decode("utf-8", errors="ignore")
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line if all(c.isprintable() or c.isspace() for c in text) else ""


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        names = ", ".join(repr(str(k)) for k in list(content)[:5])
        return f"a dict of {len(content)} entries ({names}{', ...' if len(content) > 5 else ''})"
    return f"a {type(content).__name__}"
