"""The encoder in any file of weights, by names and shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ..backbones.base import Backbone
from ..errors import UserError
from .architecture import check_whole, guess_encoders
from .describe import describe
from .layouts import NAMES, StateDict
from .layouts.layout import matches
from .loading import load_checkpoint
from .reading import read_source
from .recognition import identify, type_of
from .refusals import of_foreign_parts
from .report import place
from .swin_windows import windows_of


@dataclass(frozen=True)
class Found:
    """An encoder's weights as they were found.

    Attributes:
        source: Where.
        layout: In whose names, and behind which prefix.
        type: Class of the encoder.
        native: The weights by our names.
        left: Names that are not the encoder's, and why they are left aside.
        encoders: What it may be: preset -> encoder, without memory; or 'arch' -> the given one;
            none where names and shapes don't tell, as Swin v2's windows.
    """

    source: str
    layout: str
    type: str
    native: StateDict
    left: dict[str, str]
    encoders: dict[str, Backbone] = field(repr=False)

    @property
    def encoder(self) -> Backbone | None:
        """The only one that it may be."""
        return next(iter(self.encoders.values())) if len(self.encoders) == 1 else None

    @property
    def description(self) -> str:
        return describe(self.type, self.native)


def find_encoder(
    source: str | Path | Mapping[str, Tensor], encoder: Backbone | None = None
) -> Found:
    """The weights of the encoder in anything that :func:`load_checkpoint` reads.

    Args:
        source: As :func:`load_checkpoint` takes it.
        encoder: What it is, where that is known; the weights are fitted to it, in place. Without,
            it is found from names and shapes.

    Raises:
        UserError: It can't be read, holds no encoder, or only a part of one, or NaN.
    """
    if encoder is not None:
        report = load_checkpoint(encoder, source, quiet=True)
        kept = {n for n, p in encoder.named_parameters() if not p.requires_grad}  # fixed positions
        native = {n: t for n, t in encoder.state_dict().items() if n in {*report.filled, *kept}}
        layout = place(report.layout, report.prefix)
        kind, found = type_of(encoder), {"arch": encoder}
        return Found(report.source, layout, kind, native, report.left, found)

    state, name = read_source(source)
    reading = identify(state)
    if reading is None:
        raise UserError(
            f"{name} holds no encoder of this package in a known layout. Its names: "
            f"{', '.join(list(state)[:4])}, ..."
        )
    if reading.foreign:
        raise UserError(f"{name} was refused. {of_foreign_parts(reading.foreign)}")
    weights = reading.translate(state)
    native = {n: t for n, t in weights.items() if matches(NAMES[reading.type], n)}
    native = _name_only_norm(native)
    left = {n: "not part of the encoder" for n in state if not n.startswith(reading.prefix)}
    for n in state:
        if n.startswith(reading.prefix) and reading.layout.ignores(n[len(reading.prefix) :]):
            left[n] = "not needed"
    left |= {n: "not part of the encoder" for n in weights if n not in native}
    check_whole(reading.type, native, name)
    layout = place(reading.layout.name, reading.prefix)
    windows = windows_of(reading, state)
    windows_lack = windows is None and any(n.endswith("attn.logit_scale") for n in native)
    told = reading.heads is None and not windows_lack
    encoders = guess_encoders(reading.type, native, windows) if told else {}
    return Found(name, layout, reading.type, native, left, encoders)


def _name_only_norm(native: StateDict) -> StateDict:
    """Where the last output alone has a norm, that is 'norm', as in the authors' classifiers."""
    norms = {n.partition(".")[0] for n in native if n.startswith("norm")}
    if len(norms) != 1 or norms == {"norm"} or "norm_pre" in norms:
        return native
    (only,) = norms
    last = max((int(n.split(".")[1]) for n in native if n.startswith("layers.")), default=None)
    if only != f"norm{last}":
        return native
    return {
        n.replace(f"{only}.", "norm.", 1) if n.startswith(f"{only}.") else n: t
        for n, t in native.items()
    }
