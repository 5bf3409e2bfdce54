"""mmpretrain's classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..arguments import to_pair
from ..backbones.presets import get_preset
from ..errors import UserError
from ..registry import type_name
from .draft import Draft
from .encoder import Encoder
from .probe import build, image_side, levels, outputs
from .report import brief

POOLING = ("GlobalAveragePooling", "GeneralizedMeanPooling")
# heads for something else than one vector per image
OTHER_HEADS = ("DeiTClsHead", "ConformerHead", "CSRAClsHead", "EfficientFormerClsHead")
# they take vectors
VECTOR_NECKS = ("ClsBatchNormNeck",)
SIDE = 224  # some backbones run on no larger images


def fit_classifier(
    draft: Draft, root: str, backbone: nn.Module, name: str, overrides: Mapping[str, Any]
) -> Encoder:
    """Put the encoder ``name`` into the classifier at ``root``: its class token or, where it has
    none, its pooled map goes to the head.

    Raises:
        UserError: The neck or head is for another kind of features.
    """
    model = draft.get(root)
    if type_name(model) != "ImageClassifier":
        raise UserError(
            f"{type_name(model) or 'this model'} trains its backbone in a way that depends on the "
            "kind of backbone; of mmpretrain's models only ImageClassifier can be fitted"
        )
    neck, head = draft.get(f"{root}.neck"), draft.get(f"{root}.head") or {}
    necks = [n for n in (neck if isinstance(neck, list | tuple) else [neck]) if n]
    kinds = [type_name(n) for n in necks]
    if not set(kinds) <= {"HRFuseScales", *POOLING, *VECTOR_NECKS}:
        raise UserError(f"neck {brief(neck)} can't be fitted to an encoder")
    if type_name(head) in OTHER_HEADS:
        raise UserError(
            f"head {type_name(head)} is for the features of one kind of backbone; "
            "take LinearClsHead or VisionTransformerClsHead"
        )
    side = image_side(draft.get(f"{root}.backbone"), SIDE)
    features = outputs(backbone, side)
    channels = levels(features, side)[-1].channels
    if any(n.get("dim") == 1 for n in necks):  # of (B, C, N), as an MLP-Mixer has it
        channels = features[-1].shape[1]
    if "HRFuseScales" not in kinds and head.get("in_channels") != channels:
        raise UserError(
            f"{root}.head.in_channels={head.get('in_channels')}, but the backbone puts out "
            f"{channels} channels; the head can't be fitted"
        )

    preset = get_preset(name)
    cfg = dict(type=f"vit_backbones.{preset.type}", arch=name) | dict(overrides)
    if cfg.get("out_type") == "raw":
        raise UserError("out_type='raw' gives all tokens, and a classifier's head takes one vector")
    model = build(cfg)
    new = levels(outputs(model))[-1]
    draft.set(f"{root}.backbone", cfg)
    draft.set(f"{root}.head.in_channels", new.channels)
    pools = [n for n in necks if type_name(n) in POOLING and n.get("dim", 2) == 2]
    fitted = (pools[-1:] or [dict(type="GlobalAveragePooling")]) if new.stride else []
    fitted += [dict(n, input_features=new.channels) for n in necks if type_name(n) in VECTOR_NECKS]
    if fitted or necks:
        chain = fitted if len(fitted) > 1 else (fitted or [None])[0]
        draft.set(f"{root}.neck", chain)
    plain = preset.type == "VisionTransformer"
    size = to_pair(model.arch.img_size, "img_size")
    return Encoder(cfg, [new], plain, image_size=size)
