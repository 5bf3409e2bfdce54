"""Necks: what they take from a backbone, and their fit to another one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..errors import UserError
from ..registry import type_name
from .draft import Draft
from .encoder import Encoder, Wanted, nominal_strides
from .probe import Level

# they skip the levels below start_level
SKIP_LEVELS = ("FPN", "PAFPN", "NASFPN", "FPN_CARAFE", "FPN_DropBlock", "FPG")
PYRAMID = "SimpleFeaturePyramid"
PYRAMID_CHANNELS = 256  # ViTDet's


def first_neck(neck: Mapping | Sequence | None) -> Mapping | None:
    """Of a chain of necks, the one that takes the backbone's outputs."""
    return neck[0] if isinstance(neck, list | tuple) else neck


def facing_necks(chain: Mapping | Sequence | None) -> int:
    """How many necks of a chain stand between the backbone and what a swap leaves alone: a
    SimpleFeaturePyramid before another neck comes and goes with a plain ViT."""
    if not isinstance(chain, list | tuple):
        return int(chain is not None)
    return 2 if type_name(chain[0]) == PYRAMID and len(chain) > 1 else 1


def start_level(neck: Mapping) -> int:
    """The first of its inputs that a neck takes."""
    return neck.get("start_level", 0) if type_name(neck) in SKIP_LEVELS else 0


def wanted_by_neck(neck: Mapping, old: Sequence[Level]) -> Wanted:
    """What a neck takes of the old backbone.

    Raises:
        UserError: Its settings don't match the old backbone, or can't be understood.
    """
    kind = type_name(neck)
    everything = tuple(range(len(old)))
    if kind == "Feature2Pyramid":
        return Wanted(everything, nominal_strides(old, everything), pyramid=False)
    channels, own = neck.get("in_channels"), [level.channels for level in old]
    if kind == "RFP":
        raise UserError("neck RFP feeds its maps back into DetectoRS' ResNet; take an FPN")
    if channels is None:
        raise UserError(f"neck {kind} has no in_channels, so its fit can't be told")
    if kind == PYRAMID:
        nominal = 2 ** round(math.log2(old[-1].stride))
        strides = tuple(nominal / s for s in neck.get("scale_factors", (4, 2, 1, 0.5)))
        return Wanted(everything[-1:], strides, pyramid=True)
    if isinstance(channels, int):
        positions, fits = everything[-1:], channels == own[-1]
    else:
        positions, fits = everything[start_level(neck) :], list(channels) in (own, own[::-1])
    if not fits:
        raise UserError(
            f"neck {kind} has in_channels={channels}, but the config's backbone puts out {own}; "
            "the config does not fit itself"
        )
    if neck.get("end_level", -1) not in (-1, None):
        raise UserError(f"neck {kind} has end_level={neck['end_level']}; only -1 can be fitted")
    strides = {old[i].stride for i in positions}
    pyramid = len(strides) > 1 and kind != "MultiLevelNeck"
    return Wanted(positions, nominal_strides(old, positions), pyramid)


def fit_neck(
    draft: Draft, path: str, old: Sequence[Level], wanted: Wanted, encoder: Encoder
) -> None:
    """Fit the neck at ``path``, the first of a chain, to the new encoder.

    Raises:
        UserError: This kind of neck can't take what the encoder puts out.
    """
    chain = draft.get(path)
    where = f"{path}.0" if isinstance(chain, list | tuple) else path
    neck = first_neck(chain)
    kind = type_name(neck)
    channels = [level.channels for level in encoder.levels]
    equal = len({old[i].stride for i in wanted.positions}) == 1 < len(wanted.positions)
    if kind == PYRAMID:
        _fit_pyramid(draft, where, path, encoder)
    elif kind == "Feature2Pyramid":
        _fit_feature2pyramid(draft, where, path, encoder)
    elif kind == "MultiLevelNeck":
        draft.set(f"{where}.in_channels", channels)
        draft.set(f"{where}.scales", _scales(neck, old, encoder))
    elif encoder.pyramid is not None:
        _add_pyramid(draft, path, chain, neck, encoder)
    elif equal and not encoder.plain:
        raise UserError(
            f"neck {kind} joins maps of one size, and those of {encoder.cfg['arch']} have several; "
            "take a plain ViT"
        )
    elif isinstance(neck["in_channels"], int):
        draft.set(f"{where}.in_channels", channels[-1])
    else:
        own = [level.channels for level in old]
        reverse = list(neck["in_channels"]) != own
        kept = type(neck["in_channels"])(channels[::-1] if reverse else channels)
        draft.set(f"{where}.in_channels", kept)
        if start_level(neck):
            draft.set(f"{where}.start_level", 0)  # the levels below it are not put out any more


def simple_feature_pyramid(
    encoder: Encoder, out_channels: int = PYRAMID_CHANNELS, num_outs: int | None = None
) -> dict:
    """The config of a SimpleFeaturePyramid for the encoder."""
    neck = dict(
        type="vit_backbones.SimpleFeaturePyramid",
        in_channels=encoder.levels[-1].channels,
        out_channels=out_channels,
        scale_factors=tuple(int(f) if f >= 1 else f for f in encoder.pyramid),
    )
    return neck if num_outs in (None, len(encoder.pyramid)) else neck | dict(num_outs=num_outs)


def _fit_pyramid(draft: Draft, where: str, path: str, encoder: Encoder) -> None:
    """The neck of an earlier plain ViT: kept for another; for an encoder with stages an FPN takes
    its place, or the neck after it."""
    neck, chain = draft.get(where), draft.get(path)
    if encoder.pyramid is not None:
        fitted = simple_feature_pyramid(encoder)
        for key in ("in_channels", "scale_factors"):
            draft.set(f"{where}.{key}", fitted[key])
        return
    channels = [level.channels for level in encoder.levels]
    if where != path and "in_channels" in chain[1]:
        rest = [dict(chain[1], in_channels=channels), *chain[2:]]
        draft.set(path, rest[0] if len(rest) == 1 else rest)
        return
    fpn = dict(
        type="FPN",
        in_channels=channels,
        out_channels=neck.get("out_channels", PYRAMID_CHANNELS),
        num_outs=neck.get("num_outs") or len(channels),
    )
    draft.set(where, fpn)


def _add_pyramid(draft: Draft, path: str, chain: object, neck: Mapping, encoder: Encoder) -> None:
    """In place of an FPN, as ViTDet has it; before any other neck."""
    kind, rest = type_name(neck), list(chain[1:]) if isinstance(chain, list | tuple) else []
    out_channels = neck.get("out_channels", PYRAMID_CHANNELS)
    if not isinstance(out_channels, int):
        out_channels = PYRAMID_CHANNELS
    if kind == "FPN":
        new = [simple_feature_pyramid(encoder, out_channels, neck.get("num_outs"))]
    else:
        in_channels = type(neck["in_channels"])([out_channels] * len(encoder.pyramid))
        fitted = dict(neck, in_channels=in_channels)
        if start_level(neck):
            fitted["start_level"] = 0
        new = [simple_feature_pyramid(encoder, out_channels), fitted]
    new += rest
    draft.set(path, new[0] if len(new) == 1 else new)


def _scales(neck: Mapping, old: Sequence[Level], encoder: Encoder) -> list[float]:
    """A MultiLevelNeck's, so that its outputs keep their strides."""
    goals = [level.stride / scale for level, scale in zip(old, neck["scales"])]
    scales = [2 ** round(math.log2(new.stride)) / g for new, g in zip(encoder.levels, goals)]
    return [int(s) if s == int(s) else s for s in scales]


def _fit_feature2pyramid(draft: Draft, where: str, path: str, encoder: Encoder) -> None:
    if not encoder.plain:  # its stages are a pyramid already
        if where != path:
            raise UserError("Feature2Pyramid in a chain of necks is for a plain ViT only")
        draft.drop(path)
        return
    rescales = {16: [4, 2, 1, 0.5], 8: [2, 1, 0.5, 0.25]}
    patch = 2 ** round(math.log2(encoder.levels[0].stride))
    if patch not in rescales:
        raise UserError(f"Feature2Pyramid is for patches of 8 or 16 pixels, not {patch}")
    draft.set(f"{where}.embed_dim", encoder.levels[0].channels)
    draft.set(f"{where}.rescales", rescales[patch])
