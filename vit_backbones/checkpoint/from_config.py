"""The model of a config, and the encoder in it."""

from __future__ import annotations

import copy

from mmengine.config import Config
from mmengine.registry import MODELS as ROOT
from mmengine.registry import init_default_scope
from torch import nn

from ..backbones.base import Backbone
from ..errors import UserError
from ..registry import MODELS
from .layouts import LAYOUTS


def build_model(cfg: Config) -> nn.Module:
    """The whole model of a config, as its Runner builds it, with random weights."""
    settings = cfg.get("model")
    if not settings:
        raise UserError(f"{cfg.filename} has no model")
    settings = copy.deepcopy(settings)  # building fills in defaults, in place
    if cfg.get("data_preprocessor") is not None:
        settings.setdefault("data_preprocessor", cfg.data_preprocessor)
    init_default_scope(cfg.get("default_scope", "mmengine"))
    return ROOT.build(settings)


def build_encoder(cfg: Config) -> Backbone:
    """The encoder of a config's model, with random weights.

    Raises:
        UserError: It is none of this package.
    """
    settings = copy.deepcopy(dict((cfg.get("model") or {}).get("backbone") or {}))
    kind = str(settings.pop("type", ""))
    scope, _, name = kind.rpartition(".")
    if scope != "vit_backbones" or name not in LAYOUTS:
        raise UserError(
            f"{cfg.filename}: the backbone of its model is {kind or 'none'}; expected one of this "
            f"package, {', '.join(f'vit_backbones.{known}' for known in LAYOUTS)}"
        )
    settings.pop("init_cfg", None)
    return MODELS.get(name)(**settings)
