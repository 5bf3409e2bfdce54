"""Export: a model as ONNX or as PyTorch's exported program."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from mmengine.config import Config
from rich.console import Console
from torch import nn

from ..arguments import to_pair
from ..backbones.base import Backbone
from ..backbones.presets import PRESETS, build_backbone
from ..checkpoint.exporting import Logits, export
from ..checkpoint.from_config import build_encoder, build_model
from ..checkpoint.loading import load_checkpoint
from ..checkpoint.preprocessing import Preprocessing, of_config, of_preset
from ..errors import UserError
from .config import read_config
from .model_info import parse_setting
from .weights import load_weights


def run_export(args: Namespace) -> None:
    """Run ``tools/export.py``.

    Raises:
        UserError: A file is missing, the checkpoint does not fit, or the model can't be exported.
    """
    model, encoder, images = _build(args)
    size = to_pair(args.size or images.size, "--size")
    if size != images.size:  # what is cut from an image of another size is not known
        images = replace(images, size=size, shorter_side=None)
    out = Path(args.out or f"{Path(args.model).stem}.{args.format}")
    if out.suffix != f".{args.format}":
        raise UserError(f"--out {out}: expected a name that ends in .{args.format}")
    done = export(
        model, out, args.format, size, dynamic=args.dynamic, encoder=encoder, force=args.force
    )
    console = Console(markup=False, emoji=False)
    for file in done.files:
        console.print(f"Wrote {file}, {file.stat().st_size / 1e6:.2f} MB", soft_wrap=True)
    console.print(f"Input: images, float32, {_input_shape(encoder, size, args.dynamic)}")
    console.print(f"  {images.describe()}", soft_wrap=True)
    what = "scores of the classes" if isinstance(model, Logits) else "features"
    shapes = ", ".join("x".join(map(str, shape)) for shape in done.shapes)
    console.print(f"Output: {what}, {shapes} for one image", soft_wrap=True)
    runtime = "onnxruntime" if args.format == "onnx" else "torch.export.load"
    checked = ", ".join("x".join(map(str, shape)) for shape in done.checked)
    console.print(
        f"Checked in {runtime} with {checked}: differs from the model by at most {done.error:.1e} "
        "of the largest value",
        soft_wrap=True,
    )
    if not args.checkpoint:
        console.print("The weights are random: no checkpoint was given", style="yellow")


def _build(args: Namespace) -> tuple[nn.Module, Backbone, Preprocessing]:
    """What is exported, the encoder in it, and what is done to its images."""
    settings = dict(parse_setting(word) for word in args.settings)
    if args.model in PRESETS:
        if args.out_indices is not None:
            settings["out_indices"] = args.out_indices
        encoder = build_backbone(args.model, **settings)
        if args.checkpoint:
            load_checkpoint(encoder, args.checkpoint)
        return encoder, encoder, of_preset(args.model, encoder)
    if settings:
        raise UserError(
            f"{args.model} is no preset, and {args.settings[0]} is for presets; change the config"
        )
    cfg = read_config(args.model)
    return _from_config(cfg, args)


def _from_config(cfg: Config, args: Namespace) -> tuple[nn.Module, Backbone, Preprocessing]:
    if args.out_indices is not None:
        cfg.model.backbone.out_indices = args.out_indices
    classifies = cfg.get("default_scope", "mmpretrain") == "mmpretrain"
    if args.encoder or args.out_indices is not None:
        encoder = build_encoder(cfg)
        if args.checkpoint:
            load_checkpoint(encoder, args.checkpoint)
        return encoder, encoder, of_config(cfg, encoder)
    if not classifies:
        raise UserError(
            f"{args.model} is a config of {cfg.default_scope}; classifiers and encoders are "
            "exported: give --encoder for the encoder in it"
        )
    model = build_model(cfg)
    if not isinstance(getattr(model, "backbone", None), Backbone):
        raise UserError(f"{args.model}: its backbone is none of this package")
    if args.checkpoint:
        load_weights(model, args.checkpoint)
    return Logits(model), model.backbone, of_config(cfg, model.backbone)


def _input_shape(encoder: Backbone, size: tuple[int, int], dynamic: str | None) -> str:
    batch = "any number" if dynamic else "1"
    if dynamic == "all":
        ph, pw = encoder.arch.patch
        return f"{batch} x {encoder.in_channels} x height x width, multiples of {ph} and {pw}"
    return f"{batch} x {encoder.in_channels} x {size[0]} x {size[1]}"
