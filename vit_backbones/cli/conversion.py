"""Conversion: a file of weights for another library."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..arguments import to_pair
from ..backbones.base import Backbone
from ..backbones.presets import PRESETS, build_backbone
from ..checkpoint.converting import Conversion, convert
from ..checkpoint.from_config import build_encoder
from ..checkpoint.layouts import LAYOUTS
from ..checkpoint.preprocessing import Preprocessing, of_config, of_preset
from ..errors import UserError, nearest, some
from ..registry import MODELS
from .config import read_config
from .model_info import parse_setting

SHOWN = 4  # names per row


def run_conversion(args: Namespace) -> None:
    """Run ``tools/convert_checkpoint.py``.

    Raises:
        UserError: The input can't be read, or the target can't hold it, or the output exists.
    """
    if args.arch and args.config:
        raise UserError("give --arch or --config, not both")
    encoder, preprocessing = None, None
    if args.config:
        encoder, preprocessing = encoder_of_config(args.config)
    elif args.arch:
        encoder, preprocessing = encoder_of_words(args.arch)
    if args.mean or args.std:
        preprocessing = with_normalisation(preprocessing, encoder, args.mean, args.std)
    done = convert(
        args.source,
        args.out,
        args.to,
        encoder=encoder,
        preprocessing=preprocessing,
        force=args.force,
    )
    show(done, args.to, preprocessing)


def encoder_of_config(name: str) -> tuple[Backbone, Preprocessing]:
    """The encoder of a config's model, with random weights, and what its run does to images.

    Raises:
        UserError: It has none of this package.
    """
    cfg = read_config(name)
    encoder = build_encoder(cfg)
    return encoder, of_config(cfg, encoder)


def encoder_of_words(words: Sequence[str]) -> tuple[Backbone, Preprocessing | None]:
    """The encoder that ``--arch NAME [KEY=VALUE ...]`` means; NAME is a preset or a class."""
    name, settings = words[0], dict(parse_setting(word) for word in words[1:])
    if name in LAYOUTS:
        return MODELS.get(name)(arch={}, **settings), None
    if name not in PRESETS:
        known = [*PRESETS, *LAYOUTS]
        raise UserError(
            f"--arch: '{name}' is no preset{nearest(name, known) or '.'} Give the name of one, or "
            f"of a class ({', '.join(LAYOUTS)}), and settings as KEY=VALUE after it"
        )
    encoder = build_backbone(name, **settings)
    return encoder, of_preset(name, encoder)


def with_normalisation(
    found: Preprocessing | None,
    encoder: Backbone | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Preprocessing:
    """What was found out about the images, with the user's mean and deviation."""
    if encoder is None:
        raise UserError("--mean and --std need --arch or --config beside them")
    if found is None:
        if not (mean and std):
            raise UserError("--mean and --std: give both")
        size = to_pair(encoder.arch.img_size, "img_size")
        found = Preprocessing(size=size, mean=tuple(mean), std=tuple(std))
    for name, values in (("mean", mean), ("std", std)):
        if values and (len(values) != encoder.in_channels or max(values) > 1):
            raise UserError(
                f"--{name} {' '.join(map(str, values))}: expected {encoder.in_channels} numbers, "
                "for pixels of 0 to 1"
            )
        if values:
            found = replace(found, **{name: tuple(values)})
    return found


def show(done: Conversion, target: str, preprocessing: Preprocessing | None) -> None:
    """What was read, what was written, what was left aside, and how to load it."""
    console, found = Console(), done.found
    table = Table(show_header=False, title=escape(str(done.path)), title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rows = [
        ("from", found.source),
        ("layout", f"{found.layout} -> {done.layout}"),
        ("encoder", found.description),
        ("weights", f"{len(done.written)} tensors, {size_of(done) / 1e6:.2f} M values"),
    ]
    if target == "huggingface" and preprocessing is not None and not preprocessing.rgb:
        rows.append(("note", "the run fed it blue first; transformers' images are RGB"))
    if target in ("mmpretrain", "mmdet") and done.path.suffix == ".safetensors":
        rows.append(("note", "mmengine's own loaders read .pth alone"))
    if target == "mmdet" and found.encoder is not None and not found.encoder.arch.pad_small_map:
        why = "maps no larger than the windows are shifted there, as with pad_small_map=True"
        rows.append(("note", why))
    if done.code is None:
        rows.append(("note", "its settings (windows, heads) are not known: say them with --arch"))
    for why in dict.fromkeys(found.left.values()):
        names = [n for n, reason in found.left.items() if reason == why]
        rows.append(("left aside", f"{len(names)}, {why}: {some(names, SHOWN)}"))
    for what, which in rows:
        table.add_row(what, escape(which))
    console.print(table)
    if done.code:
        console.print("Load it with:\n", style="bold")
        print(done.code)


def size_of(done: Conversion) -> int:
    return sum(t.numel() for t in done.written.values() if isinstance(t, torch.Tensor))
