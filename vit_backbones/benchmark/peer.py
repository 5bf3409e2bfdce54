"""Another library's encoder in the shape that a comparison needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

# where an image of the measured size makes no difference
IRRELEVANT = ("img_size", "pretrain_img_size", "pos_interpolation", "norm_all_outputs")


class NotOffered(Exception):
    """A library has no such encoder; the message completes 'The library ...'."""


class Peer(nn.Module):
    """An encoder of another library that answers as ours do: images (B, 3, H, W) -> a tuple.

    Args:
        encoder: Theirs, without a head.
        run: How to call it.
        norms: One norm per output on the last dimension, in place of norms that it lacks.
    """

    def __init__(
        self,
        encoder: nn.Module,
        run: Callable[[Tensor], Any],
        norms: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.norms = nn.ModuleList(norms)
        self.run = run

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        outputs = self.run(images)
        outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        if not self.norms:
            return outputs
        return tuple(norm(out) for norm, out in zip(self.norms, outputs, strict=True))


def channels_last(maps: Iterable[Tensor]) -> list[Tensor]:
    """(B, C, h, w) -> (B, h, w, C) each, for norms."""
    return [x.permute(0, 2, 3, 1) for x in maps]


def check_settings(arch: Any, *known: str) -> None:
    """Raise NotOffered where ``arch`` departs from its type's defaults in a setting that the
    library's encoder, with ``known`` ones, has no counterpart of."""
    for field in dataclasses.fields(arch):
        if field.name in known or field.name in IRRELEVANT:
            continue
        if field.name == "drop_path_uniform" and not arch.drop_path_rate:
            continue
        default = field.default
        if default is dataclasses.MISSING:
            default = field.default_factory()
        value = getattr(arch, field.name)
        if value != default:
            raise NotOffered(f"has no encoder with {field.name}={value!r}")


def whole(name: str, value: float) -> int:
    """``value`` as the integer that the library wants.

    Raises:
        NotOffered: It isn't one.
    """
    if value != int(value):
        raise NotOffered(f"takes whole numbers only for {name}, not {value}")
    return int(value)
