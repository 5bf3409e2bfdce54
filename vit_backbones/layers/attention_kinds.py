"""The kinds of attention that a block can have, by name."""

from __future__ import annotations

import inspect

from torch import nn

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


def attention_options(kind: str) -> list[str]:
    """Names of the options that this kind has beyond those of all."""
    common = inspect.signature(SelfAttention).parameters
    own = inspect.signature(ATTENTIONS[kind]).parameters.values()
    return [p.name for p in own if p.name not in common and p.kind != p.VAR_KEYWORD]
