"""The new backbone's config, with the outputs that a neck or a head wants."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..arguments import to_pair
from ..backbones.presets import get_preset
from ..errors import UserError
from .probe import Level, build, levels, outputs

# strides of the stages of ResNets and Swins: what heads for several levels count on
STRIDES = (4, 8, 16, 32)


@dataclass
class Wanted:
    """What the rest of the model takes from the backbone.

    Attributes:
        positions: Which of the old backbone's outputs, ascending; the others are not used.
        strides: Stride of each; of each level where a SimpleFeaturePyramid makes them of one.
        pyramid: Whether maps of several sizes are combined, so that a plain ViT needs a neck.
    """

    positions: tuple[int, ...]
    strides: tuple[float, ...]
    pyramid: bool


@dataclass
class Encoder:
    """The new backbone.

    Attributes:
        cfg: Its config.
        levels: Its outputs.
        pyramid: For a plain ViT that needs one: the scale factors of its SimpleFeaturePyramid.
        plain: A plain ViT: all of its outputs have one stride.
        image_size: (height, width) for which it holds positions.
    """

    cfg: dict[str, Any]
    levels: list[Level]
    plain: bool
    pyramid: tuple[float, ...] | None = None
    image_size: tuple[int, int] | None = None


def nominal_strides(old: Sequence[Level], positions: Sequence[int]) -> tuple[float, ...]:
    """Strides that fit the outputs at ``positions``.

    Those of a dilated ResNet (4, 8, 8, 8) or a plain ViT (16, 16, 16, 16) grow no further than they
    can; an encoder without dilation has those of ``STRIDES`` in their place.
    """
    strides = [_rounded(level.stride) for level in old]
    if len(old) > 1 and any(a >= b for a, b in itertools.pairwise(strides)):
        if len(old) > len(STRIDES):
            raise UserError(
                f"the old backbone's {len(old)} outputs have strides {strides}; which stages of "
                "another encoder would take their place can't be told"
            )
        strides = list(STRIDES[-len(old) :])
    return tuple(strides[i] for i in positions)


def _rounded(stride: float) -> float:
    """The power of two that a stride is about: branches on scaled images (ICNet) round sizes."""
    power = 2.0 ** round(math.log2(stride)) if stride else 0.0
    return power if abs(stride - power) < 0.05 * power else stride


def choose_encoder(name: str, overrides: Mapping[str, Any], wanted: Wanted) -> Encoder:
    """The encoder ``name`` with maps for all that is wanted.

    Raises:
        UserError: It has no such outputs, or an override can't work.
    """
    preset = get_preset(name)
    cfg = dict(type=f"vit_backbones.{preset.type}", arch=name) | dict(overrides)
    given = cfg.pop("out_indices", None)
    if preset.type in ("VisionTransformer", "MViT"):
        if cfg.setdefault("out_type", "featmap") != "featmap":
            raise UserError(
                f"out_type={cfg['out_type']!r}: a detector or segmenter needs maps; leave it out"
            )
    model = build(cfg)
    plain = preset.type == "VisionTransformer"
    if plain:
        return _plain(cfg, model, given, wanted)
    stages = len(model.arch.depths)
    strides = [model.out_strides[-1] / 2**i for i in range(stages)][::-1]
    if given is None:
        if len(wanted.strides) == 1:  # the deepest, whichever stride the old one was stopped at
            given = [stages - 1]
        else:
            given = [_stage(name, strides, stride) for stride in wanted.strides]
        if given[-1] != stages - 1:
            raise UserError(
                f"the model takes nothing of a stride above {strides[given[-1]]:g}, so the last "
                f"{stages - 1 - given[-1]} of {name}'s {stages} stages would do nothing; give it "
                "fewer, with depths and num_heads"
            )
    cfg["out_indices"] = given
    model = build(cfg)
    cfg["out_indices"] = model.out_indices
    return Encoder(cfg, levels(outputs(model)), plain)


def _stage(name: str, strides: Sequence[float], wanted: float) -> int:
    if wanted in strides:
        return strides.index(wanted)
    raise UserError(
        f"the model takes a map of stride {wanted:g}, and {name} has none (its stages have "
        f"{', '.join(f'{s:g}' for s in strides)})"
    )


def _plain(cfg: dict, model: Any, given: Any, wanted: Wanted) -> Encoder:
    height, width = model.arch.patch
    if height != width:
        raise UserError(f"patches of {height}x{width} pixels have no one stride; use square ones")
    depth, count = model.num_layers, len(wanted.positions)
    if wanted.pyramid or count == 1:
        cfg["out_indices"] = (depth - 1,) if given is None else given
        if isinstance(given, Sequence) and len(given) > 1:
            raise UserError(
                f"out_indices={tuple(given)}: this model takes one map of a plain ViT"
                + (", of which a SimpleFeaturePyramid makes all levels" if wanted.pyramid else "")
            )
    else:  # blocks at the ends of equal parts, as in mmseg's ViTs
        last = max(len(STRIDES), wanted.positions[-1] + 1)
        if depth < last:
            raise UserError(f"{depth} blocks can't give {last} different outputs")
        ends = [depth * (i + 1) // last - 1 for i in wanted.positions]
        shift = depth - 1 - ends[-1]  # the last block is always used
        cfg["out_indices"] = tuple(i + shift for i in ends) if given is None else given
    model = build(cfg)
    cfg["out_indices"] = model.out_indices
    patch = 2 ** round(math.log2(height))  # scales are powers of two: 14 counts as 16
    factors = tuple(patch / stride for stride in wanted.strides) if wanted.pyramid else None
    maps = [Level(c, float(s)) for c, s in zip(model.out_channels, model.out_strides)]
    return Encoder(cfg, maps, True, factors, to_pair(model.arch.img_size, "img_size"))
