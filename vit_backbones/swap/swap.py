"""The swap as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from ..backbones.presets import get_preset
from ..checkpoint.sources import REMOTE, locate
from ..errors import UserError
from ..registry import type_name
from .classification import fit_classifier
from .dense import fit_dense
from .draft import Draft
from .inputs import fit_normalisation, fit_sizes
from .optimizer import fit_optimizer
from .probe import build, is_convolutional
from .report import ABSENT, SwapReport

LIBRARIES = ("mmdet", "mmseg", "mmpretrain")
SEGMENTERS = ("EncoderDecoder", "CascadeEncoderDecoder")


def swap_backbone(
    cfg: Config,
    name: str,
    *,
    checkpoint: str | None = None,
    layer_decay_rate: float | None = None,
    keep_optimizer: bool = False,
    **overrides: Any,
) -> SwapReport:
    """Put the encoder ``name`` into a config of mmdet, mmseg or mmpretrain, in place.

    Everything that depends on the backbone is fitted: necks, heads' channels, levels and strides,
    padding, normalisation and the optimizer's rules. A plain ViT gets a SimpleFeaturePyramid where
    maps of several sizes are wanted; a single map of it goes to the neck or head as it is.

    Args:
        cfg: The config, with ``default_scope`` of one of the three libraries.
        name: A preset, one of :func:`list_backbones`.
        checkpoint: Weights from which the encoder starts, whatever ``load_checkpoint`` takes; what
            must be fetched is fetched when the training begins. Default: random ones.
        layer_decay_rate: Layer-wise decay of the encoder's learning rates, as ViT recipes have it
            (0.65 to 0.9). Default: as the config has it.
        keep_optimizer: Leave a ResNet's SGD. Default: AdamW as the library's own Swin configs.
        overrides: Settings of the encoder, which win over the preset: ``drop_path_rate``,
            ``with_cp``, ``frozen_stages``, ``out_indices``, ``arch`` as a dict, ...

    Returns:
        What changed; print it.

    Raises:
        UserError: The config can't be fitted to this encoder; it is unchanged then.
    """
    if not isinstance(cfg, Config):
        raise UserError(f"swap_backbone takes a mmengine Config, not {type(cfg).__name__}")
    get_preset(name)
    if "type" in overrides or "init_cfg" in overrides:
        raise UserError(
            "the type of the encoder comes with its name, and its weights with checkpoint= "
            "(--pretrained); leave type and init_cfg out"
        )
    draft = Draft(cfg)
    library, root = library_of(cfg), find_model(cfg)
    if library is None:
        raise UserError(
            f"default_scope={cfg.get('default_scope')!r}: a config of {', '.join(LIBRARIES)} is "
            "wanted, which says so in default_scope"
        )
    kind = type_name(draft.get(root))
    if library == "mmseg" and kind not in SEGMENTERS:
        raise UserError(
            f"of mmseg's models only {' and '.join(SEGMENTERS)} can be fitted, not {kind}"
        )
    old = build(draft.get(f"{root}.backbone"), library)
    if library == "mmpretrain":
        encoder = fit_classifier(draft, root, old, name, overrides)
    else:
        encoder = fit_dense(draft, root, library, old, name, overrides)
    fit_normalisation(draft, root, library, name)
    fit_sizes(draft, root, library, encoder)

    prefix = f"{root}.backbone.".removeprefix("model.")
    parameters = [prefix + n for n, _ in build(encoder.cfg).named_parameters()]
    convolutional = is_convolutional(old)
    if not any(parameter.requires_grad for parameter in old.parameters()):
        draft.note("The old backbone was frozen; the new one trains (frozen_stages=N freezes it).")
    fit_optimizer(draft, library, parameters, convolutional, layer_decay_rate, keep_optimizer)
    _set_weights(draft, root, checkpoint)
    _import_package(draft)
    return draft.commit()


def library_of(cfg: Config) -> str | None:
    """The library whose config this is, by ``default_scope`` or the model's own scope."""
    model = cfg.get("model") or {}
    kind = model.get("type") or ""
    module = kind if isinstance(kind, str) else kind.__module__
    scopes = (cfg.get("default_scope"), model.get("_scope_"), module.split(".")[0])
    return next((scope for scope in scopes if scope in LIBRARIES), None)


def find_model(cfg: Config) -> str:
    """Path of the model that has the backbone: trackers and SoftTeacher have a detector inside.

    Raises:
        UserError: None has.
    """
    model = cfg.get("model") or {}
    for root, node in (("model", model), ("model.detector", model.get("detector"))):
        if isinstance(node, Mapping) and isinstance(node.get("backbone"), Mapping):
            return root
    raise UserError(
        f"{type_name(model) or 'the config'} has no backbone at model.backbone or "
        f"model.detector.backbone (its parts: {', '.join(model) or 'none'})"
    )


def _set_weights(draft: Draft, root: str, checkpoint: str | None) -> None:
    """Weights of the old backbone, or of the old model as a whole, don't fit any more."""
    for path in (f"{root}.pretrained", f"{root}.init_cfg", "load_from"):
        if draft.get(path):
            draft.set(path, None)
    if checkpoint is None:
        draft.note("No checkpoint given: the encoder starts from random weights.")
        return
    if not str(checkpoint).startswith(REMOTE):
        locate(checkpoint)  # raises where there is no such file
    draft.set(f"{root}.backbone.init_cfg", dict(type="Pretrained", checkpoint=str(checkpoint)))


def _import_package(draft: Draft) -> None:
    imports = draft.get("custom_imports.imports", [])
    imports = [imports] if isinstance(imports, str) else list(imports)
    if "vit_backbones" not in imports:
        old = draft.get("custom_imports", ABSENT)
        rest = {} if old is ABSENT or old is None else dict(old)
        draft.set("custom_imports", rest | dict(imports=[*imports, "vit_backbones"]))
