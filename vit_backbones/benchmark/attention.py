"""The scaling study of the attention kinds: one layer, from short to long sequences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import UserError
from ..layers.attention_kinds import ATTENTIONS, attention_options, check_attention
from .scaling import Step

# what the papers' formulas say for n tokens on a square grid
STATED = {
    "global": "n²",
    "window": "n",
    "axial": "n√n",
    "strided": "n√n",
    "linformer": "n",
    "pooled": "n",
    "local": "n",
}
WARM_UP_SIDE = 8


@dataclass(frozen=True)
class AttentionLayer:
    """One attention layer on a square grid of patches, float32, no prefix tokens; called with a
    number of tokens it prepares a step.

    Attributes:
        kind, options: As in ``attention=dict(type=kind, **options)``.
        dim, num_heads, batch: Of the layer and its input.
        backward: A step is forward and backward, not forward alone.
        threads: Of torch; None leaves them alone.
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    dim: int = 192
    num_heads: int = 3
    batch: int = 1
    backward: bool = False
    threads: int | None = None

    @property
    def stated(self) -> str:
        """The growth of its time that follows from the definition."""
        return "n²" if self.options.get("stride") else STATED[self.kind]

    def __call__(self, tokens: int) -> Step:
        if self.threads:
            torch.set_num_threads(self.threads)
        self._step(WARM_UP_SIDE)()
        return self._step(math.isqrt(tokens))

    def _step(self, side: int) -> Step:
        options = dict(self.options)
        if "grid" in attention_options(self.kind):
            options["grid"] = (side, side)
        layer = ATTENTIONS[self.kind](self.dim, self.num_heads, **options)
        x = torch.randn(self.batch, side * side, self.dim, requires_grad=self.backward)

        def step() -> None:
            with torch.set_grad_enabled(self.backward):
                out = layer(x, (side, side))
            if self.backward:
                out.sum().backward()
                x.grad = None
                layer.zero_grad()

        return step


def parse_kind(word: str, **settings: Any) -> AttentionLayer:
    """``'local'`` or ``'local:kernel_size=13,...'`` as a layer.

    Raises:
        UserError: There is no such kind or option, or the value can't work.
    """
    kind, _, rest = word.partition(":")
    options = {}
    for item in rest.split(",") if rest else []:
        name, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--kinds {word}: expected kind:option=value,..., got '{item}'")
        options[name] = int(value) if value.lstrip("-").isdigit() else value
    check_attention(kind, options)
    layer = AttentionLayer(kind, options, **settings)
    if layer.num_heads < 1 or layer.dim % layer.num_heads:
        raise UserError(f"--dim {layer.dim} does not divide into --heads {layer.num_heads}")
    layer._step(1)  # values of options are checked by the layer itself
    return layer


def check_tokens(tokens: list[int]) -> list[int]:
    """Ascending numbers of tokens, each the square of a whole number.

    Raises:
        UserError: One is not.
    """
    for count in tokens:
        side = math.isqrt(max(count, 0))
        if count < 1 or side * side != count:
            near = max(1, round(max(count, 1) ** 0.5))
            raise UserError(
                f"--tokens {count}: grids are square, so tokens are square numbers; "
                f"the nearest is {near * near}"
            )
    return sorted(set(tokens))
