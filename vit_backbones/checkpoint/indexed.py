"""Hugging Face's checkpoints in several files, beside an index that says which tensor is where."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import UserError

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def is_index(path: str | Path) -> bool:
    return Path(path).name.endswith(".index.json")


def files_of(index: Path) -> list[str]:
    """Names of the files that an index names, all in its own folder.

    Raises:
        UserError: It is damaged, or leads out of its folder.
    """
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        inside = all(Path(name).name == name for name in names)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"{index} is no index of weights: expected JSON with a weight_map of names of tensors "
            "to names of files. Download it again"
        ) from error
    if not names or not inside:
        raise UserError(f"{index} names no files, or files in other folders; it was not followed")
    return names
