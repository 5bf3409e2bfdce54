"""Finding an encoder in a state dict: whose layout, behind which prefix, likely which preset."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ..errors import UserError
from .layouts import LAYOUTS, NAMES, Layout, StateDict
from .layouts.layout import matches

KERNEL = "patch_embed.proj.weight"
# What an encoder may do without: maps need no class token, and the outputs say which final norms
# there are. Anything else of the encoder that is left over makes another model of it.
DISPENSABLE = ("cls_token", "norm.*", "fc_norm.*", "norm0.*", "norm1.*", "norm2.*", "norm3.*")


@dataclass(frozen=True)
class Reading:
    """One way to read a state dict.

    Attributes:
        type: Type of encoder.
        layout, prefix: Whose names, and what stands before them.
        native: What is behind the prefix, by our names, without values (on the meta device).
    """

    type: str
    layout: Layout
    prefix: str
    native: StateDict

    @property
    def foreign(self) -> list[str]:
        """Names in its patch embedding and blocks that none of our encoders has: it is another
        network, or one with adapters."""
        return [name for name in self.native if self.is_foreign(name)]

    def is_foreign(self, name: str) -> bool:
        return self.layout.is_inside(name) and not matches(NAMES[self.type], name)

    @property
    def heads(self) -> int | None:
        """How many heads its ViT has, where that is not one for 64 channels, and only its project
        tells: MoCo v3's ViT-S (Chen et al. 2021)."""
        kernel = self.native.get(KERNEL)
        moco = {"base_encoder", "momentum_encoder"} & {*self.prefix.split(".")}
        small = kernel is not None and kernel.shape[:1] == (384,)
        return 12 if self.type == "VisionTransformer" and moco and small else None

    def translate(self, state: Mapping[str, Tensor]) -> StateDict:
        """The weights themselves, by our names."""
        return self.layout.to_native(_inside(state, self.prefix))


def read_as(model_type: str, own: Mapping[str, Tensor], state: StateDict) -> Reading | None:
    """The reading that finds most of the parameters ``own`` of an encoder in a state dict.

    Of several copies of the encoder the one whose shapes fit is taken, then a teacher or average.
    """

    def score(reading: Reading) -> tuple:
        found = own.keys() & reading.native.keys()
        same = sum(own[name].shape == reading.native[name].shape for name in found)
        averaged = bool({"teacher", "ema", "target"} & {*re.split(r"[._/]", reading.prefix)})
        return len(found), same, averaged, -len(reading.native)

    readings = list(_readings(model_type, state))
    best = max(readings, key=score, default=None)
    return best if best is not None and score(best)[0] else None


def identify(state: StateDict) -> Reading | None:
    """The reading that makes sense of most names, whatever the type of encoder."""

    def score(reading: Reading) -> tuple:
        known = sum(matches(NAMES[reading.type], name) for name in reading.native)
        # timm's and the authors' Swin differ only in the stage that a merging is counted to
        merges = "layers.0.downsample.reduction.weight" in reading.native
        return known, merges, -len(reading.native)

    readings = [reading for kind in LAYOUTS for reading in _readings(kind, state)]
    best = max(readings, key=score, default=None)
    return best if best is not None and score(best)[0] else None


def _readings(model_type: str, state: StateDict) -> Iterator[Reading]:
    shapes = {name: tensor.to("meta") for name, tensor in state.items()}
    for layout in LAYOUTS[model_type]:
        for prefix in sorted(layout.prefixes(shapes)):
            native = layout.to_native(_inside(shapes, prefix))
            # other networks have a first convolution of the same name, too, but no such blocks
            if any("blocks." in name and matches(NAMES[model_type], name) for name in native):
                yield Reading(model_type, layout, prefix, native)


def _inside(state: Mapping[str, Tensor], prefix: str) -> StateDict:
    return {n[len(prefix) :]: t for n, t in state.items() if n.startswith(prefix)}


def type_of(model: nn.Module) -> str:
    """Class of the encoder, by the name that layouts know it by; a UserError for another model."""
    for cls in type(model).__mro__:
        if cls.__name__ in LAYOUTS:
            return cls.__name__
    raise UserError(
        f"load_checkpoint fills an encoder ({', '.join(LAYOUTS)}), not a {type(model).__name__}; "
        "of a whole model give its .backbone"
    )
