"""What is said where a file does not fill an encoder: what lacks, what it is, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from ..errors import some
from .describe import describe, likeliest_presets, settings_for
from .layouts import LAYOUTS, NAMES, StateDict
from .layouts.layout import matches
from .recognition import KERNEL, identify


class Misfit(NamedTuple):
    """Where a file and an encoder differ, by names.

    Attributes:
        missing: Parameters of the encoder that stay unfilled.
        surplus: The file's, of an encoder, for which this one has no place.
        foreign: Those of them that no encoder of ours has.
    """

    missing: list[str]
    surplus: list[str]
    foreign: list[str]


def of_no_known_layout(kind: str, state: StateDict, source: str) -> str:
    """A file in which no encoder of type ``kind`` is found."""
    found = identify(state)
    if found is not None and KERNEL in found.native and not found.foreign:
        return (
            f"{source} holds no {kind}, but a {found.type} in the {found.layout.name} layout: "
            f"{describe(found.type, found.native)}"
        )
    names = ", ".join(list(state)[:4])
    known = dict.fromkeys(layout.name.split(",")[0] for layout in LAYOUTS[kind])
    return (
        f"{source} holds no {kind} in a known layout. Its names: {names}, ... "
        f"The known layouts: {', '.join(known)}"
    )


def of_foreign_parts(names: list[str]) -> str:
    return (
        f"No encoder here has parts like {names[0]}: the file is of another network, or has "
        "adapters (LoRA), which must be merged into the weights first"
    )


def of_another_model(
    kind: str,
    own: Mapping[str, Tensor],
    source: str,
    misfit: Misfit,
    state: StateDict,
    native: StateDict,
) -> str:
    """A file that does not fill an encoder of type ``kind`` with the parameters ``own``.

    Args:
        state, native: The file's tensors by its names, and by ours.
    """
    if any(tensor.ndim == 5 for tensor in native.values()):
        return f"{source} is a model of video; these encoders are of images"
    found = identify(state)
    if found.type != kind:
        return of_no_known_layout(kind, state, source)
    missing, surplus, foreign = misfit
    both = {n: (native[n], own[n]) for n in missing if n in native}
    shapes = {
        n: f" is {tuple(a.shape)} in the file, {tuple(b.shape)} in the model"
        for n, (a, b) in both.items()
        if a.shape != b.shape
    }
    quantized = {
        n: f" is {a.dtype} in the file"
        for n, (a, b) in both.items()
        if a.is_floating_point() != b.is_floating_point()
    }
    problems = []
    if missing:
        differences = {**shapes, **quantized}
        problems.append(
            f"does not fill {len(missing)} of the {len(own)} parameters of the encoder: "
            + some([n + differences.get(n, "") for n in missing], 3)
        )
    if surplus:
        first = [*foreign, *surplus][: len(surplus)]
        problems.append(
            f"holds {len(surplus)} parameters for which the encoder has no place: {some(first, 3)}"
        )
    known = [name for name in native if matches(NAMES[kind], name)]
    file, encoder = describe(kind, found.native), describe(kind, own)
    settings = [] if both or foreign else settings_for(own, known, missing)
    if foreign:
        advice = f"{of_foreign_parts(foreign)}."
    elif quantized:
        advice = "The weights are quantized: take the file with those in float32 or half precision."
    elif settings and (file == encoder or not likeliest_presets(kind, found.native)):
        advice = f"Build the model with {', '.join(settings)}: then their parameters are the same."
    elif file != encoder:
        advice = f"This file looks like {file}; the model like {encoder}. Build what the file is."
    elif shapes:
        advice = f"Both look like {file}: build the model with the file's sizes (img_size, say)."
    else:
        advice = f"It looks like a part of {file}: get the whole file, if there is more of it."
    return f"{source} {' and '.join(problems)}.\n{advice} strict=False loads only what fits"
