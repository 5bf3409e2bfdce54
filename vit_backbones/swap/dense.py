"""Detectors and segmenters: backbone, neck and what their heads see of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ..errors import UserError
from ..registry import type_name
from . import detection, segmentation
from .draft import Draft
from .encoder import Encoder, choose_encoder
from .necks import facing_necks, first_neck, fit_neck, simple_feature_pyramid, wanted_by_neck
from .probe import SIDE, Level, as_list, build, image_side, levels, outputs, reason, takes_neck


@dataclass
class Seen:
    """What heads see: the outputs of the neck, or of the backbone where there is none.

    Attributes:
        old, new: Before and after the swap.
        place: Index of an old output -> that of the new one in its place.
    """

    old: list[Level]
    new: list[Level]
    place: dict[int, int]


def fit_dense(
    draft: Draft, root: str, library: str, backbone: torch.nn.Module, name: str, overrides: Mapping
) -> Encoder:
    """Put the encoder ``name`` into the detector or segmenter at ``root``.

    Args:
        backbone: The old one, built.

    Raises:
        UserError: A neck or head can't be fitted.
    """
    side = image_side(draft.get(f"{root}.backbone"))
    features = outputs(backbone, side)
    old = levels(features, side)
    if not all(level.stride for level in old):
        raise UserError(f"{type(backbone).__name__} puts out vectors, no maps")
    heads = detection if library == "mmdet" else segmentation
    chain = draft.get(f"{root}.neck")
    neck = first_neck(chain)
    wanted = wanted_by_neck(neck, old) if neck else heads.wanted_by_heads(draft, root, old)
    facing = facing_necks(chain)
    before = _neck_levels(chain, facing, features, side, library)

    encoder = choose_encoder(name, overrides, wanted)
    draft.set(f"{root}.backbone", encoder.cfg)
    if neck:
        fit_neck(draft, f"{root}.neck", old, wanted, encoder)
    elif encoder.pyramid is not None:
        if not takes_neck(draft.get(root), library):
            raise UserError(
                f"{type_name(draft.get(root))} takes no neck, and without one a plain ViT has no "
                "maps of several sizes; take a Swin or MViT"
            )
        draft.set(f"{root}.neck", simple_feature_pyramid(encoder))
    extra = len(encoder.levels) - len(wanted.strides) if encoder.pyramid is None else 0
    if extra:
        heads.change_level_count(draft, root, extra)

    features, new_chain = outputs(build(encoder.cfg)), draft.get(f"{root}.neck")
    facing += _length(new_chain) - _length(chain)
    after = _neck_levels(new_chain, facing, features, SIDE, library)
    if neck is None:  # heads saw the backbone
        place = {position: i for i, position in enumerate(wanted.positions)}
        seen = Seen(old, after or encoder.levels, place)
    elif draft.get(f"{root}.neck") is None:  # the neck was for plain maps and is gone
        seen = Seen(before, encoder.levels, {i: i for i in range(len(before))})
    elif before and after:
        seen = Seen(before, after, {i: i for i in range(len(before))})
    elif [level.stride for level in encoder.levels] == list(wanted.strides) and not extra:
        return encoder  # the neck can't run here, but gets what it got before
    else:
        raise UserError(f"neck {type_name(neck)} does not run here, so its fit can't be told")
    heads.fit_heads(draft, root, seen, by_neck=neck is not None)
    return encoder


def _length(chain: Mapping | Sequence | None) -> int:
    return len(chain) if isinstance(chain, list | tuple) else int(chain is not None)


def _neck_levels(
    chain: Mapping | Sequence | None,
    count: int,
    features: Sequence[torch.Tensor],
    side: int,
    library: str,
) -> list[Level] | None:
    """What the first ``count`` necks of a chain make of the features; None without a neck, or if it
    needs a device to run."""
    if chain is None:
        return None
    for neck in (chain if isinstance(chain, list | tuple) else [chain])[:count]:
        module = build(neck, library)
        with torch.no_grad(), torch.device("meta"):
            try:
                features = as_list(module(tuple(features)))
            except NotImplementedError:  # a compiled op
                return None
            except Exception as error:
                raise UserError(f"neck {type_name(neck)} does not run: {reason(error)}") from error
    return levels(features, side)
