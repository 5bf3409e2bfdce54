"""The table of named models: name -> type of encoder, its settings, published size, source."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UserError, nearest

if TYPE_CHECKING:
    from .base import Backbone


@dataclass(frozen=True)
class Preset:
    """One named model.

    Attributes:
        type: Class name in ``vit_backbones``.
        settings: What differs from the defaults of the class.
        params: Trainable and fixed parameters of the encoder without a head, in millions.
        source: Paper and, where it adds something, the published checkpoints that it fits.
    """

    type: str
    settings: Mapping[str, Any]
    params: float
    source: str


PRESETS: dict[str, Preset] = {}


def get_preset(name: str) -> Preset:
    """The table's row.

    Raises:
        UserError: No preset has this name; the message names the nearest.
    """
    if name not in PRESETS:
        raise UserError(
            f"there is no preset '{name}'{nearest(name, PRESETS) or '.'} "
            f"vit_backbones.list_backbones() names all {len(PRESETS)}"
        )
    return PRESETS[name]


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of the presets that match a shell pattern, such as ``'dino*'``, sorted."""
    return sorted(fnmatch.filter(PRESETS, pattern))


def build_backbone(name: str, **settings: Any) -> Backbone:
    """Build the encoder ``name`` with random weights.

    Args:
        name: A preset, one of :func:`list_backbones`.
        settings: Anything that the encoder's class takes; wins over the preset.

    Raises:
        UserError: Unknown preset or setting.
    """
    from ..registry import MODELS

    preset = get_preset(name)
    return MODELS.get(preset.type)(arch=name, **settings)
