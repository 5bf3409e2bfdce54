"""Loading a trained model as a whole, encoder and head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..checkpoint.reading import read_checkpoint
from ..errors import UserError

OTHERS = (".safetensors", ".npz", ".pkl", ".json")


def read_model(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights of a whole model by name, and the metadata of the checkpoint that holds them.

    Raises:
        UserError: As `read_checkpoint`, or it is no file of torch, or has no weights in it.
    """
    if path.endswith(OTHERS):  # which mmengine can't load
        raise UserError(
            f"{path}: expected the checkpoint of a whole model as a run writes it, .pth"
        )
    checkpoint = read_checkpoint(path)
    weights = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, Mapping) else None
    if not isinstance(weights, Mapping) or not weights:
        raise UserError(f"{path} holds no weights")
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return weights, checkpoint.get("meta", {})


def load_weights(model: nn.Module, path: str) -> dict[str, Any]:
    """Load all weights of ``model`` from a checkpoint of the same model; return its metadata.

    Raises:
        UserError: As `read_model`, or weights are missing, left over or of another shape.
    """
    weights, meta = read_model(path)
    check_fit(model, weights, path)
    model.load_state_dict(weights, strict=False)
    return meta


def check_fit(model: nn.Module, weights: Mapping[str, Any], path: str) -> None:
    """Raise a UserError unless ``weights`` are exactly those of ``model``: loading would otherwise
    leave the rest as it was initialised, and the model would guess."""
    own = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
    missing = [name for name in own if name not in weights]
    reshaped = [
        f"{name} {tuple(weights[name].shape)}, model {tuple(value.shape)}"
        for name, value in own.items()
        if name in weights and weights[name].shape != value.shape
    ]
    extra = [name for name in weights if name not in model.state_dict()]
    problems = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for names, what in (
            (missing, "of the model's weights are not in the file"),
            (reshaped, "have another shape"),
            (extra, "are unknown to the model"),
        )
        if names
    ]
    if problems:
        raise UserError(
            f"{path} is not a checkpoint of this config's model, which has {len(own)} weights:\n  "
            + "\n  ".join(problems)
        )
