"""mmseg's heads: which of the maps they take, and their channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import UserError
from ..registry import type_name
from .detection import fit_strides
from .draft import Draft
from .encoder import Wanted, nominal_strides
from .probe import Level

if TYPE_CHECKING:
    from .dense import Seen

HEADS = ("decode_head", "auxiliary_head")
# they take what one kind of backbone gives
OTHER_HEADS = {
    "DPTHead": "maps together with class tokens of a plain ViT",
    "DDRHead": "the two maps that a DDRNet gives in training",
    "PIDHead": "the three maps that a PIDNet gives in training",
}
# they take all maps, without an index
TAKE_ALL = ("Mask2FormerHead", "MaskFormerHead")


def inputs_of_heads(draft: Draft, root: str) -> list[str]:
    """Paths of the dicts that say which maps a head takes.

    A head has one; K-Net's, which is made of others, has it inside.

    Raises:
        UserError: One can't be told, or takes what no backbone of this package gives.
    """
    found = []
    for key in HEADS:
        heads = draft.get(f"{root}.{key}")
        if not heads:
            continue
        paths = [f"{root}.{key}.{i}" for i in range(len(heads))]
        for path in paths if isinstance(heads, list | tuple) else [f"{root}.{key}"]:
            kind = type_name(draft.get(path))
            if kind in OTHER_HEADS:
                raise UserError(f"{kind} takes {OTHER_HEADS[kind]}")
            nested = [p for p, node in draft.dicts(path) if {"in_channels", "in_index"} <= {*node}]
            if "in_channels" in draft.get(path):
                nested = [path]
            if not nested:
                raise UserError(f"{path} ({kind}) has no in_channels, so its fit can't be told")
            found += nested
    return found


def indices(head: dict, total: int) -> list[int]:
    """Which of ``total`` maps a head takes."""
    if type_name(head) in TAKE_ALL:
        return list(range(total))
    index = head.get("in_index", -1)
    listed = list(index) if isinstance(index, list | tuple) else [index]
    return [i % total for i in listed]


def wanted_by_heads(draft: Draft, root: str, old: Sequence[Level]) -> Wanted:
    """Without a neck: the union of what the heads take.

    Raises:
        UserError: The last map serves the auxiliary heads alone.
    """
    positions, pyramid, deepest = set(), False, 0
    for path in inputs_of_heads(draft, root):
        head = draft.get(path)
        taken = indices(head, len(old))
        if type_name(head) == "EncHead" and not head.get("add_lateral") and len(taken) > 1:
            # the others would be put out, normed and used by nothing
            for key in ("in_index", "in_channels"):
                draft.set(f"{path}.{key}", type(head[key])(head[key][-1:]))
            taken = taken[-1:]
        if "decode_head" in path:
            deepest = max(deepest, *taken)
        if head.get("c1_in_channels"):  # DeepLabV3+ adds the first map, without an index
            taken = [0, *taken]
        positions |= set(taken)
        pyramid |= len({old[i].stride for i in taken}) > 1
    if deepest < max(positions):
        raise UserError(
            f"the decoder takes map {deepest} of the backbone, which fuses what it has, and "
            f"auxiliary heads alone map {max(positions)}; the last stages of another encoder would "
            "serve no prediction"
        )
    ordered = tuple(sorted(positions))
    return Wanted(ordered, nominal_strides(old, ordered), pyramid)


def fit_heads(draft: Draft, root: str, seen: Seen, by_neck: bool) -> None:
    """Fit the heads to what they see now.

    Raises:
        UserError: One does not match the old backbone, so it can't be fitted to another.
    """
    total, last = len(seen.old), len(seen.new) - 1
    for path in inputs_of_heads(draft, root):
        head = draft.get(path)
        taken = indices(head, total)
        given = head["in_channels"]
        old = [seen.old[i].channels for i in taken]
        if (list(given) if isinstance(given, list | tuple) else [given]) != old:
            raise UserError(
                f"{path}.in_channels={given}, but the maps {taken} that it takes have {old}; the "
                "config does not fit itself"
            )
        places = [seen.place[i] for i in taken]
        new = [seen.new[i].channels for i in places]
        draft.set(f"{path}.in_channels", new[0] if isinstance(given, int) else type(given)(new))
        if head.get("num_convs") == 0 and isinstance(given, int):
            draft.set(f"{path}.channels", new[0])  # nothing changes their number
        index = head.get("in_index", -1)
        if isinstance(index, list | tuple):
            draft.set(f"{path}.in_index", type(index)(places))
        elif index != -1 or places != [last]:
            draft.set(f"{path}.in_index", places[0])
        if head.get("c1_in_channels"):
            draft.set(f"{path}.c1_in_channels", seen.new[seen.place[0]].channels)
        if type_name(head) in TAKE_ALL:
            fit_strides(draft, root, seen)


def change_level_count(draft: Draft, root: str, extra: int) -> None:
    raise UserError(
        f"out_indices gives {abs(extra)} {'more' if extra > 0 else 'fewer'} maps than the heads of "
        "this segmenter take; leave it out"
    )
