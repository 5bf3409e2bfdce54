"""Loading any published file into an encoder, or refusing it with the model unchanged."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.dist import is_main_process
from rich.console import Console
from torch import Tensor, nn

from ..errors import UserError
from ..layers.relative_bias import resize_bias_table, window_of
from .layouts import NAMES, Layout, StateDict
from .layouts.layout import matches
from .reading import check_finite, read_source
from .recognition import DISPENSABLE, KERNEL, Reading, read_as, type_of
from .refusals import Misfit, of_another_model, of_no_known_layout
from .report import LoadReport
from .resizing import (
    check_patch_kernel,
    put_in_middle,
    resize_input_channels,
    resize_patch_kernel,
)
from .swin_windows import check_units, windows_of

if TYPE_CHECKING:
    from ..backbones.base import Backbone

BIAS_TABLE = "relative_position_bias_table"
DISTILLATION = ("dist_token", "distillation_token")  # what layouts take out when they decode


def load_checkpoint(
    model: Backbone,
    source: str | Path | Mapping[str, Tensor],
    *,
    prefix: str | None = None,
    strict: bool = True,
    quiet: bool = False,
) -> LoadReport:
    """Load published weights into an encoder.

    The layout (timm, torchvision, Hugging Face, mmpretrain, mmdet, Google, the authors' own) and
    the prefix are recognised; position embeddings, relative position tables and patch kernels are
    resized to the model; heads are left aside.

    Args:
        model: The encoder; changed only when all is well.
        source: A state dict; or the path of a .pth, .safetensors, .npz, ... file, a folder that
            transformers wrote, a URL, ``hf://org/name`` or ``timm/name`` (:func:`locate`).
        prefix: Look only at the names that begin so, as OpenMMLab's init_cfg has it. Needed only
            where a file holds several encoders.
        strict: Raise when a parameter of the encoder stays unfilled; False only reports it.
        quiet: Don't print the report.

    Raises:
        UserError: The file can't be read; it is of another model; a parameter stays unfilled,
            doesn't fit or isn't finite. The model is as before.
    """
    state, name = read_source(source)
    kind = type_of(model)
    inside, outside = _split_by_prefix(state, prefix, name)
    reading = read_as(kind, model.state_dict(), inside)
    if reading is None:
        raise UserError(of_no_known_layout(kind, inside, name))
    native = reading.translate(inside)
    if KERNEL in native:
        check_patch_kernel(native[KERNEL], name)
    fitted, unused = _fit(model, native, reading.layout)

    own = model.state_dict()
    report = LoadReport(name, reading.layout.name, reading.prefix)
    report.filled = [n for n in own if n in fitted]
    report.unfilled = {
        n: "of another shape" if n in native else "not in the file" for n in own if n not in fitted
    }
    report.resized = {
        n: (tuple(native[n].shape), tuple(own[n].shape))
        for n in report.filled
        if n in native and native[n].numel() != own[n].numel()
    }
    report.left = _left_aside(reading, inside, unused)
    report.left |= dict.fromkeys(outside, "not part of the encoder")

    if strict and (windows := windows_of(reading, inside)) is not None:
        check_units(windows, model.arch, name)
    if strict and reading.heads is not None and reading.heads != model.arch.heads:
        raise UserError(
            f"{name} looks like MoCo v3's ViT-S, which has {reading.heads} heads, and the model "
            f"has {model.arch.heads}. Build it with num_heads={reading.heads}"
        )
    missing = [n for n in report.unfilled if not model.may_start_new(n)]
    foreign = [n for n in unused if reading.is_foreign(n)]
    surplus = [n for n in unused if matches(NAMES[kind], n) and not matches(DISPENSABLE, n)]
    surplus += foreign
    if (strict and (missing or surplus)) or not fitted:
        misfit = Misfit(missing, surplus, foreign)
        raise UserError(of_another_model(kind, own, report.source, misfit, inside, native))
    check_finite(fitted, name)
    model.load_state_dict(fitted, strict=False)
    if not quiet and is_main_process():
        Console(stderr=True).print(report)
    return report


def _split_by_prefix(
    state: StateDict, prefix: str | None, source: str
) -> tuple[StateDict, list[str]]:
    """The part of the state dict that the user named, and the names of the rest."""
    inside = {n: t for n, t in state.items() if n.startswith(prefix or "")}
    if not inside:
        parts = sorted({f"'{n.split('.')[0]}.'" for n in state if "." in n})
        raise UserError(
            f"{source} has no names that begin with '{prefix}'; they begin with "
            f"{', '.join(parts[:8])}. Without a prefix the encoder is found by itself"
        )
    return inside, [n for n in state if n not in inside]


def _fit(model: Backbone, native: StateDict, layout: Layout) -> tuple[StateDict, list[str]]:
    """The file's weights in the model's shapes, as far as they fit, and the names of the others.

    A copy of the model without memory loads them, so that its own hooks resize positions and
    tables.
    """
    own = model.state_dict()
    candidates = dict(native)
    if KERNEL in native and native[KERNEL].ndim == own[KERNEL].ndim and native[KERNEL].numel():
        _, channels, *size = own[KERNEL].shape
        kernel = resize_input_channels(native[KERNEL], channels)
        candidates[KERNEL] = resize_patch_kernel(kernel, (size[0], size[1]))
    tables = {n: t for n, t in native.items() if n.endswith(BIAS_TABLE) and t.ndim == 2}
    largest = max(map(window_of, tables.values()), default=0)
    for name, tensor in native.items():
        if name in own and tensor.ndim < own[name].ndim and tensor.numel() == own[name].numel():
            candidates[name] = tensor.reshape(own[name].shape)
        elif name == "pos_embed" and tensor.ndim == 2:
            candidates[name] = tensor[None]
        elif name in own and name in tables:
            window = window_of(own[name])
            resized = (layout.resize_bias_table or resize_bias_table)(tensor, window)
            shrank = window_of(tensor) < largest == window  # to the map, as the model's will
            if shrank and len(resized) == len(own[name]):
                resized = put_in_middle(tensor, resized)
            candidates[name] = resized
    empty = _without_memory(model)
    try:
        unused = empty.load_state_dict(candidates, strict=False, assign=True).unexpected_keys
    except RuntimeError:  # some have another shape; the others are loaded
        unused = [name for name in native if name not in own]
    return {n: t for n, t in empty.state_dict().items() if not t.is_meta}, unused


def _without_memory(model: Backbone) -> Backbone:
    """A copy of the model on the meta device, made without copying its weights."""
    memo: dict[int, Tensor] = {id(b): b.to("meta") for b in model.buffers()}
    memo |= {
        id(p): nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in model.parameters()
    }
    return copy.deepcopy(model, memo)


def _left_aside(reading: Reading, state: StateDict, unused: list[str]) -> dict[str, str]:
    """Names that were not used, and why."""
    left = {}
    for name in state:
        if not name.startswith(reading.prefix):
            left[name] = "not part of the encoder"
        elif reading.layout.ignores(name.removeprefix(reading.prefix)):
            left[name] = "not needed"
        elif name.endswith(DISTILLATION):
            left[name] = "the encoder has no distillation token"
    for name in unused:
        of_encoder = matches(NAMES[reading.type], name) or reading.is_foreign(name)
        in_file = reading.prefix + name if reading.prefix + name in state else name
        left[in_file] = "the model has no such part" if of_encoder else "not part of the encoder"
    return left
