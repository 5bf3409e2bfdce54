"""How a project names the parameters of one of our encoders, and the translation both ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

StateDict = dict[str, Tensor]
Names = str | tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """One project's names for one type of encoder.

    In a pattern ``*`` stands for a part of a name without a dot; both sides have the same number of
    them, in the same order.

    Attributes:
        name: What the report calls it.
        anchors: Patterns of their names for the patch embedding's weight and for something in every
            block. Where these stand in a file tells the prefix before all names. A first part with
            a final ``?`` may be there; ``decode`` takes it off.
        names: Our pattern -> theirs. Several of theirs are joined along the first dimension to make
            ours (queries, keys, values); all of them must be there, but for those marked with a
            final ``?``: they are zero where they are absent, and not written where they are zero
            (DINOv3's key bias).
        aliases: (our pattern, theirs) that also occur; read, never written.
        ignored: Patterns of names of theirs that hold no weights of the encoder.
        foreign: How names outside of the patch embedding and the blocks begin that belong to
            another network: without what they hold, its outputs are others.
        decode: Applied to theirs before the renaming: what renaming can't express.
        encode: The inverse, applied to theirs after the renaming, and to the number of positions
            before those of the grid (None: not known).
        gated: Written only for encoders with (True) or without (False) gated MLPs.
        rotary: Likewise with or without rotary position, where that is known.
        resize_bias_table: How the project fits a table of position biases to a window of another
            side; None: as the model itself does, in its authors' way.
    """

    name: str
    anchors: tuple[str, ...]
    names: Mapping[str, Names]
    aliases: Sequence[tuple[str, Names]] = ()
    ignored: Sequence[str] = ()
    foreign: tuple[str, ...] = ()
    decode: Callable[[StateDict], StateDict] | None = field(default=None, repr=False)
    encode: Callable[[StateDict, int | None], StateDict] | None = field(default=None, repr=False)
    gated: bool | None = None
    rotary: bool | None = None
    resize_bias_table: Callable[[Tensor, int], Tensor] | None = field(default=None, repr=False)

    def prefixes(self, names: Iterable[str]) -> set[str]:
        """What stands before the encoder's names in a file, once per copy of the encoder."""
        anchors = [re.compile(_anchor_regex(anchor)) for anchor in self.anchors]
        found = (anchor.fullmatch(name) for name in names for anchor in anchors)
        return {match[1] for match in found if match}

    def to_native(self, theirs: Mapping[str, Tensor]) -> StateDict:
        """Their state dict, without the prefix -> ours. What no rule knows keeps its name."""
        rest = {name: t for name, t in theirs.items() if not self.ignores(name)}
        if self.decode is not None:
            rest = self.decode(rest)
        native: StateDict = {}
        for ours, names in (*self.aliases, *self.names.items()):
            parts = (names,) if isinstance(names, str) else names
            for stars in _stars(parts, rest):
                filled = [_fill(part.rstrip("?"), stars) for part in parts]
                if len({rest[name].shape[1:] for name in filled if name in rest}) > 1:
                    continue  # another network's, of the same names
                native[_fill(ours, stars)] = _join([rest.pop(name, None) for name in filled])
        return rest | native

    def from_native(
        self, native: Mapping[str, Tensor], class_positions: int | None = None
    ) -> StateDict:
        """Our state dict -> theirs. What no rule knows keeps its name.

        Args:
            class_positions: How many positions stand before those of the grid, where it is known;
                their number alone tells it of square grids.
        """
        rest, theirs = dict(native), {}
        for ours, names in self.names.items():
            parts = (names,) if isinstance(names, str) else names
            for stars in _stars((ours,), rest):
                tensors = rest.pop(_fill(ours, stars)).chunk(len(parts))
                for part, tensor in zip(parts, tensors, strict=True):
                    if not part.endswith("?") or not (tensor.is_meta or not tensor.any()):
                        theirs[_fill(part.rstrip("?"), stars)] = tensor.contiguous()
        theirs |= rest
        return theirs if self.encode is None else self.encode(theirs, class_positions)

    def holds(self, native: Mapping[str, Tensor], rotary: bool | None = None) -> bool:
        """Whether it has a place for every parameter of an encoder of ours, with or without
        ``rotary`` position (None: not known, for it has no parameters)."""
        if self.gated not in (None, has_gated_mlp(native)):
            return False
        if None not in (rotary, self.rotary) and rotary != self.rotary:
            return False
        return not self.homeless(native)

    def homeless(self, native: Iterable[str]) -> list[str]:
        """Our names for which it has no place."""
        return [name for name in native if not matches(self.names, name)]

    def ignores(self, name: str) -> bool:
        """Whether a name of theirs holds no weights of the encoder."""
        return matches(self.ignored, name)

    def is_inside(self, name: str) -> bool:
        """Whether a name of theirs is within the patch embedding or a block, or begins as foreign
        ones outside of them do."""
        return name.startswith(self.foreign) or any(
            re.match(_inside_regex(anchor), name) for anchor in self.anchors
        )


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether a name is one that the patterns describe."""
    return any(re.fullmatch(_regex(pattern), name) for pattern in patterns)


def rename(
    state: Mapping[str, Tensor], start: str, replacement: str | Callable[[re.Match], str]
) -> StateDict:
    """A state dict with the starts of names replaced that match a regular expression."""
    return {re.sub(f"^(?:{start})", replacement, name): t for name, t in state.items()}


def has_gated_mlp(native: Mapping[str, Tensor]) -> bool:
    """Whether the first layer of the MLPs makes a gate beside the values (SwiGLU)."""
    first, second = (native.get(f"blocks.0.mlp.{name}.weight") for name in ("fc1", "fc2"))
    return first is not None and second is not None and len(first) == 2 * second.shape[1]


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", r"([^.]+)")


def _anchor_regex(anchor: str) -> str:
    """Matches names that end in the anchor; the first group is the prefix."""
    optional, _, rest = anchor.rpartition("?.")
    start = rf"(?:{_regex(optional)}\.)?" if optional else ""
    return rf"(|.*{'?' if optional else ''}[./]){start}{_regex(rest)}"


@lru_cache(maxsize=1024)
def _inside_regex(anchor: str) -> str:
    """Matches names that begin as the anchor does, up to the block or the patch embedding."""
    anchor = anchor.rpartition("?.")[2]
    stem = anchor.rpartition("*.")[0] + "*" if "*" in anchor else anchor.rsplit(".", 2)[0]
    whole = stem == anchor or "." not in anchor.removesuffix(".weight")  # stands by itself
    return r"(?!)" if whole else _regex(stem) + r"\."


def _stars(patterns: Sequence[str], names: Mapping[str, Tensor]) -> list[tuple[str, ...]]:
    """What the stars stand for, once per set of names in which none that must be there lacks."""
    required = [p for p in patterns if not p.endswith("?")]
    first = re.compile(_regex(required[0]))
    found = [match.groups() for name in names if (match := first.fullmatch(name))]
    return [stars for stars in found if all(_fill(p, stars) in names for p in required)]


def _fill(pattern: str, stars: Sequence[str]) -> str:
    """The pattern with its stars replaced."""
    values = iter(stars)
    return re.sub(r"\*", lambda _: next(values), pattern)


def _join(tensors: Sequence[Tensor | None]) -> Tensor:
    if len(tensors) == 1:
        return tensors[0]
    some = next(t for t in tensors if t is not None)
    return torch.cat([torch.zeros_like(some) if t is None else t for t in tensors])
