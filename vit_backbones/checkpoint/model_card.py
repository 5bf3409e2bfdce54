"""The README.md and metafile.yml of a published model."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import torch
import yaml

from ..backbones.base import Backbone
from ..errors import UserError
from ..version import __version__
from .converting import PREFIXES, translate
from .describe import likeliest_presets
from .peers import TARGETS, loading_code
from .preprocessing import Preprocessing
from .run_record import RunRecord

LIBRARIES = (  # names of both stacks
    ("mmengine", "onedl-mmengine"),
    ("mmcv", "onedl-mmcv", "mmcv-lite"),
    ("mmpretrain", "onedl-mmpretrain"),
    ("mmdet", "onedl-mmdetection"),
    ("mmsegmentation", "onedl-mmsegmentation"),
)
TITLES = {
    "native": "vit_backbones",
    "timm": "timm",
    "mmpretrain": "mmpretrain's own backbone",
    "mmdet": "mmdet's own backbone",
    "torchvision": "torchvision",
    "huggingface": "transformers",
}
SUFFIXES = {"huggingface": ""}  # a folder; else .pth


@dataclass(frozen=True)
class Card:
    """What a model card tells.

    Attributes:
        name: Of the model.
        files: Names of the published files, .pth first.
        config: Name of the config beside them.
        model: What it is: 'ImageClassifier', or '' for an encoder alone.
        encoder: Of the model; None where it is none of this package.
        parameters: Of what was published.
        flops: Multiply-adds of the encoder for one image of the size in ``images``.
        images: What is done to an image.
        record: Of the run.
        task: 'Image Classification', ...
    """

    name: str
    files: Sequence[str]
    config: str
    model: str
    encoder: Backbone | None = field(repr=False)
    parameters: int
    flops: int | None
    images: Preprocessing | None
    record: RunRecord
    task: str


def readme(card: Card) -> str:
    """The model card."""
    parts = [
        f"# {card.name}",
        _what(card),
        f"## Data and scores\n\n{_data(card)}",
        f"## Input\n\n{_input(card)}",
        f"## How to load it\n\n{_loading(card)}",
        f"## Files\n\n{_files(card)}",
        f"## Versions\n\n{versions()}",
    ]
    return "\n\n".join(parts) + "\n"


def metafile(card: Card) -> str:
    """The model-index entry, as OpenMMLab's metafile.yml."""
    model: dict[str, Any] = {
        "Name": card.name,
        "Metadata": {"Parameters": card.parameters},
        "In Collection": card.config.removesuffix(".py"),
    }
    if card.flops is not None:
        model["Metadata"]["FLOPs"] = card.flops
    if card.record.epoch is not None:
        model["Metadata"]["Epochs"] = card.record.epoch
    if card.record.scores:
        model["Results"] = [
            {
                "Dataset": card.record.tested_on or "unknown",
                "Task": card.task,
                "Metrics": {name: round(v, 6) for name, v in card.record.scores.items()},
            }
        ]
    model |= {"Weights": card.files[0], "Config": card.config}
    collection = {
        "Name": card.config.removesuffix(".py"),
        "Metadata": {
            "Training Data": card.record.trained_on or "unknown",
            "Architecture": [name for name in (card.model, _architecture(card.encoder)) if name],
        },
    }
    return yaml.safe_dump({"Collections": [collection], "Models": [model]}, sort_keys=False)


def _architecture(encoder: Backbone | None) -> str:
    return "" if encoder is None else f"vit_backbones.{type(encoder).__name__}"


def _what(card: Card) -> str:
    lines = []
    if card.encoder is None:
        lines.append(f"{_article(card.model)} of {card.parameters:,} parameters.")
    else:
        kind = type(card.encoder).__name__
        presets = likeliest_presets(kind, card.encoder.state_dict())
        like = f", {' or '.join(presets)} by its parameters" if presets else ""
        encoder = f"`vit_backbones.{kind}`{like}"
        what = f"An encoder, {encoder}"
        if card.model:
            what = f"{_article(card.model)} whose encoder is {encoder}"
        lines.append(f"{what}: {card.parameters:,} parameters.")
    if card.flops is not None and card.images is not None:
        size = " x ".join(map(str, card.images.size))
        lines.append(f"The encoder takes {card.flops / 1e9:.3g} G multiply-adds at {size} pixels.")
    if card.record.averaged:
        lines.append("The weights are the moving average over the training (EMA).")
    return " ".join(lines)


def _article(name: str) -> str:
    return f"{'An' if name[:1] in 'AEIOU' else 'A'} {name}"


def _data(card: Card) -> str:
    record = card.record
    lines = [f"Trained on: {record.trained_on or 'not known (the config names no data set)'}."]
    when = [
        f"epoch {record.epoch}" if record.epoch is not None else "",
        f"iteration {record.iteration}" if record.iteration is not None else "",
    ]
    if any(when):
        lines.append(f"Written after {', '.join(filter(None, when))}.")
    if record.classes:
        shown = ", ".join(record.classes[:20]) + (", ..." if len(record.classes) > 20 else "")
        lines.append(f"{len(record.classes)} classes: {shown}.")
    if not record.scores:
        lines.append("Scores: not known; no log of the run was found beside the checkpoint.")
        return "\n".join(lines)
    lines += [
        "",
        f"| score on {record.tested_on or 'the validation set'} | value |",
        "| --- | ---: |",
        *(f"| {name} | {value:.4g} |" for name, value in record.scores.items()),
        "",
        f"Read from {record.scores_from}, not measured again."
        + ("" if card.model else " They are those of the whole model."),
    ]
    return "\n".join(lines)


def _input(card: Card) -> str:
    if card.images is None:
        return "As the test pipeline and the data preprocessor in the config say."
    return card.images.describe() + "."


def _loading(card: Card) -> str:
    file, parts = card.files[0], []
    if card.model:
        parts.append(f"The whole model:\n\n```bash\npython tools/test.py {card.config} {file}\n```")
    if card.encoder is None:
        return "\n\n".join(parts)
    if card.model:
        parts.append("Its encoder alone:")
    for target in TARGETS:
        if (way := _way(card, target, file)) is not None:
            parts.append(f"### {TITLES[target]}\n\n{way}")
        if target == "native":
            parts.append(_in_configs(card, file))
    return "\n\n".join(parts)


def _way(card: Card, target: str, file: str) -> str | None:
    """The code for a library, after a conversion where its names differ; None where it has no such
    model."""
    encoder = card.encoder
    converted = f"{card.name}_{target}{SUFFIXES.get(target, '.pth')}"
    try:
        names = translate(type(encoder).__name__, encoder.state_dict(), target)[1].keys()
        same = not card.model and target not in PREFIXES and names == encoder.state_dict().keys()
        direct = target == "native" or (same and target != "huggingface")
        code = loading_code(target, encoder, file if direct else converted, names)
    except UserError:
        return None
    block = f"```python\n{code}\n```"
    if direct:
        return block
    command = (
        f"python tools/convert_checkpoint.py {file} {converted} --to {target} "
        f"--config {card.config}"
    )
    return f"```bash\n{command}\n```\n\n{block}"


def _in_configs(card: Card, file: str) -> str:
    kind = type(card.encoder).__name__
    return (
        "In a config of mmpretrain, mmdet or mmseg, with the settings of `backbone` in "
        f"`{card.config}`:\n\n```python\ncustom_imports = dict(imports=['vit_backbones'])\n"
        f"model = dict(backbone=dict(type='vit_backbones.{kind}', ...,\n"
        f"    init_cfg=dict(type='Pretrained', checkpoint={file!r})))\n```"
    )


def _files(card: Card) -> str:
    return "\n".join(
        [f"- `{name}`" for name in card.files]
        + [f"- `{card.config}`: the config", "- `metafile.yml`: the entry of a model index", ""]
        + [
            "The digits after the last dash are the start of each file's SHA-256; "
            "`vit_backbones.load_checkpoint` verifies them."
        ]
    )


def versions() -> str:
    """Of what published it."""
    found = [f"vit_backbones {__version__}", f"torch {torch.__version__}"]
    for names in LIBRARIES:
        for name in names:
            try:
                found.append(f"{name} {metadata.version(name)}")
                break
            except metadata.PackageNotFoundError:
                continue
    return ", ".join([*found, f"Python {platform.python_version()}"])


def describe_scores(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
