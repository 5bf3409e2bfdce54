"""The kinds of attention that a block can have, by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from torch import nn

from ..errors import UserError, nearest
from .attention import SelfAttention
from .axial_attention import AxialAttention
from .linformer import LinformerAttention
from .local_attention import LocalAttention
from .pooled_attention import PooledAttention
from .strided_attention import StridedAttention
from .window_attention import WindowAttention

ATTENTIONS: dict[str, type[nn.Module]] = {
    "global": SelfAttention,
    "window": WindowAttention,
    "axial": AxialAttention,
    "strided": StridedAttention,
    "linformer": LinformerAttention,
    "pooled": PooledAttention,
    "local": LocalAttention,
}


def attention_options(kind: str) -> dict[str, Any]:
    """The options that this kind has beyond those of all, and their defaults."""
    common = inspect.signature(SelfAttention).parameters
    own = inspect.signature(ATTENTIONS[kind]).parameters.values()
    return {p.name: p.default for p in own if p.name not in common and p.kind != p.VAR_KEYWORD}


def check_attention(kind: object, options: Iterable[str]) -> None:
    """Raise a UserError unless ``kind`` exists and has options of these names."""
    if kind not in ATTENTIONS:
        raise UserError(
            f"attention {kind!r} is unknown{nearest(kind, ATTENTIONS) or '.'} "
            f"The kinds: {', '.join(ATTENTIONS)}"
        )
    known = list(attention_options(kind))
    for name in options:
        if name not in known:
            raise UserError(
                f"attention '{kind}' has no option '{name}'{nearest(name, known) or '.'} "
                f"Its options: {', '.join(known) or 'none'}"
            )
