"""What a preset costs and gives: parameters, multiply-adds, feature maps, at any input size."""

from __future__ import annotations

import inspect
from argparse import ArgumentParser, Namespace
from ast import literal_eval
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from ..arguments import to_pair
from ..backbones.base import Backbone
from ..backbones.presets import build_backbone, get_preset, list_backbones
from ..complexity import Complexity, count
from ..errors import UserError
from ..registry import MODELS


def show(args: Namespace) -> None:
    """Print one preset's figures, or the list of presets.

    Raises:
        UserError: No such preset, a setting that can't work, or no preset matches.
    """
    console = Console()
    if args.list is not None:
        console.print(preset_table(args.list))
        return
    if args.name is None:
        raise UserError("give the name of a preset; --list shows them all")
    model = build_on_meta(args.name, args.settings, args.out_indices)
    size = to_pair(args.size or model.arch.img_size, "--size")
    complexity = _count(args.name, model, size)
    console.print(cost_table(args.name, args.settings, model, size, complexity))
    console.print(output_table(model, complexity))


def _count(name: str, model: Backbone, size: tuple[int, int]) -> Complexity:
    try:
        return count(model, size)
    except (RuntimeError, TypeError) as error:  # torch's, of tensors of 2^63 bytes
        if "overflow" not in str(error).lower():
            raise
        raise UserError(
            f"{name} with images of {size[0]} x {size[1]} pixels: its tensors would have more "
            "bytes than torch can count; give a smaller --size"
        ) from error


def build_on_meta(
    name: str, words: Sequence[str], out_indices: Sequence[int] | None = None
) -> Backbone:
    """The encoder without memory, with settings as ``KEY=VALUE`` words. Unless told otherwise it
    puts out maps, of every stage where it has several."""
    encoder = MODELS.get(get_preset(name).type)
    settings = dict(parse_setting(word) for word in words)
    if misplaced := settings.keys() & {"arch", "name"}:
        raise UserError(f"'{misplaced.pop()}' is no setting: the name of the preset comes first")
    if "out_type" in inspect.signature(encoder).parameters:
        settings.setdefault("out_type", "featmap")
    if out_indices is not None:
        settings["out_indices"] = out_indices
    with torch.device("meta"):
        model = build_backbone(name, **settings)
        if "out_indices" in settings or not hasattr(model.arch, "depths"):
            return model
        return build_backbone(name, **settings, out_indices=range(len(model.arch.depths)))


def parse_with_settings(parser: ArgumentParser, words: Sequence[str]) -> Namespace:
    """The arguments in ``words``; KEY=VALUE words, wherever they stand, are ``settings``: options
    that take several words would swallow a setting after them."""
    settings = [word for word in words if "=" in word and not word.startswith("-")]
    args = parser.parse_args([word for word in words if word not in settings])
    args.settings = settings
    return args


def parse_setting(word: str) -> tuple[str, Any]:
    """``'depth=2'`` -> ``('depth', 2)``; what is no Python literal is a string, but true and false
    are what they mean, as in mmengine's ``--cfg-options``."""
    name, _, text = word.partition("=")
    if text.lower() in ("true", "false"):
        text = text.capitalize()
    try:
        return name, literal_eval(text)
    except (ValueError, SyntaxError):
        return name, text


def cost_table(
    name: str,
    words: Sequence[str],
    model: Backbone,
    size: tuple[int, int],
    complexity: Complexity,
) -> Table:
    """What the encoder is, and what one forward pass of one image costs."""
    table = Table(title=f"{name} ({type(model).__name__})", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("source", get_preset(name).source)
    if words:
        table.add_row("settings", " ".join(words))
    table.add_row("input", f"{model.in_channels} x {size[0]} x {size[1]}")
    table.add_row("parameters", f"{complexity.params / 1e6:.2f} M")
    table.add_row("FLOPs", f"{complexity.flops / 1e9:.2f} G (multiply-adds)")
    table.add_row("activations", f"{complexity.activations / 1e6:.1f} M")
    return table


def output_table(model: Backbone, complexity: Complexity) -> Table:
    """Shape of each output, and the stride of those that are maps."""
    table = Table(title="outputs", title_justify="left")
    for column in ("index", "shape", "stride"):
        table.add_column(column, justify="right")
    outputs = zip(model.out_indices, complexity.outputs, model.out_strides, strict=True)
    for index, shape, stride in outputs:
        is_map = len(shape) == 3
        table.add_row(str(index), " x ".join(map(str, shape)), str(stride) if is_map else "-")
    return table


def preset_table(pattern: str) -> Table:
    """The presets whose names match a shell pattern."""
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
