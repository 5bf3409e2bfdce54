"""What a preset costs and gives: parameters, multiply-adds, feature maps, at any input size."""

from __future__ import annotations

import inspect
from argparse import Namespace
from ast import literal_eval
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console, Group
from rich.table import Table

from ..backbones.base import Backbone, to_pair
from ..backbones.presets import build_backbone, get_preset, list_backbones
from ..complexity import Complexity, count
from ..errors import UserError
from ..registry import MODELS


def show(args: Namespace, console: Console | None = None) -> None:
    """Print one preset's figures, or the list of presets.

    Raises:
        UserError: No such preset, a setting that can't work, or no preset matches.
    """
    console = console or Console()
    if args.list is not None:
        console.print(preset_table(args.list))
    elif args.name is None:
        raise UserError("give the name of a preset; --list shows them all")
    else:
        settings = dict(parse_setting(word) for word in args.settings)
        model = build_on_meta(args.name, args.out_indices, settings)
        size = (
            to_pair(args.size[0] if len(args.size) == 1 else args.size, "--size")
            if (args.size)
            else to_pair(model.arch.img_size, "img_size")
        )
        console.print(model_tables(args.name, model, size, count(model, size)))


def parse_setting(word: str) -> tuple[str, Any]:
    """``'depth=2'`` -> ``('depth', 2)``; what is no Python literal is a string."""
    name, _, text = word.partition("=")
    try:
        return name, literal_eval(text)
    except (ValueError, SyntaxError):
        return name, text


def build_on_meta(
    name: str, out_indices: Sequence[int] | None, settings: dict[str, Any]
) -> Backbone:
    """The encoder without memory. Unless told otherwise it puts out maps, of every stage where it
    has several."""
    encoder = MODELS.get(get_preset(name).type)
    if "out_type" in inspect.signature(encoder).parameters:
        settings.setdefault("out_type", "featmap")
    with torch.device("meta"):
        model = build_backbone(name, **settings)
        stages = getattr(model.arch, "depths", None)
        if out_indices is None and stages is not None:
            out_indices = range(len(stages))
        if out_indices is not None:
            model = build_backbone(name, **{**settings, "out_indices": out_indices})
    return model


def model_tables(
    name: str, model: Backbone, size: tuple[int, int], complexity: Complexity
) -> Group:
    """Two tables: the costs, and the outputs."""
    costs = Table(title=f"{name} ({type(model).__name__})", title_justify="left", show_header=False)
    costs.add_column(style="bold")
    costs.add_column()
    costs.add_row("source", get_preset(name).source)
    costs.add_row("input", f"{model.in_channels} x {size[0]} x {size[1]}")
    costs.add_row("parameters", f"{complexity.params / 1e6:.2f} M")
    costs.add_row("FLOPs", f"{complexity.flops / 1e9:.2f} G multiply-adds per image")
    costs.add_row("activations", f"{complexity.activations / 1e6:.1f} M per image")
    features = Table(title="outputs", title_justify="left")
    for column in ("index", "shape", "stride"):
        features.add_column(column, justify="right")
    for index, shape, stride in zip(
        model.out_indices, complexity.outputs, model.out_strides, strict=True
    ):
        is_map = len(shape) == 3
        features.add_row(str(index), " x ".join(map(str, shape)), str(stride) if is_map else "-")
    return Group(costs, features)


def preset_table(pattern: str) -> Table:
    """The presets that match a shell pattern."""
    names = list_backbones(pattern)
    if not names:
        raise UserError(f"no preset matches '{pattern}'; --list alone shows them all")
    table = Table()
    table.add_column("name", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("source")
    for name in names:
        preset = get_preset(name)
        table.add_row(name, f"{preset.params:.2f} M", preset.source)
    return table
