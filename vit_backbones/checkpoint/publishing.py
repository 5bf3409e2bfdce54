"""Publishing: a run's checkpoint as files for others, proved to give the same outputs."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ..backbones.base import Backbone
from ..complexity import count
from ..errors import UserError
from ..registry import type_name
from ..version import __version__
from .from_config import build_encoder, build_model
from .layouts import StateDict
from .loading import load_checkpoint
from .model_card import Card, metafile, readme
from .outputs import encoder_outputs, model_outputs
from .preprocessing import Preprocessing, of_config
from .reading import check_finite, find_weights, read_checkpoint, read_state_dict
from .run_record import RunRecord, read_record
from .writing import check_new, new_folder, to_bytes

TASKS = {
    "mmpretrain": "Image Classification",
    "mmdet": "Object Detection",
    "mmseg": "Semantic Segmentation",
}
# what a config tells about one person's machine
PRIVATE = ("work_dir", "load_from", "resume", "launcher", "experiment_name")


@dataclass(frozen=True)
class Published:
    """What :func:`publish` wrote.

    Attributes:
        folder, files: Where, and the names of the files of weights, .pth first.
        record: What is known of the run.
        compared: Number of output tensors that were equal.
    """

    folder: Path
    files: tuple[str, ...]
    record: RunRecord
    compared: int


def publish(
    checkpoint: str | Path,
    cfg: Config,
    folder: str | Path,
    *,
    encoder_only: bool = False,
    date: datetime.date | None = None,
    force: bool = False,
) -> Published:
    """Write a folder with the weights (.pth, .safetensors), a model card, a model-index entry and
    the config; load both files into fresh models, and compare their outputs with the checkpoint's.

    Args:
        checkpoint: As a run saved it; of averaged weights (EMA) and raw ones the average is taken.
        cfg: The config of the run.
        folder: A new one.
        encoder_only: Publish the encoder without neck and head.
        date: For the names, [today, UTC].
        force: Replace a folder that was published before.

    Raises:
        UserError: The checkpoint does not fit the config, or holds NaN; or the outputs differ.
            Nothing is written.
    """
    path = Path(checkpoint)
    check_new(folder, force)
    content = read_checkpoint(path)
    weights = find_weights(content, str(path))
    weights = {n.removeprefix("module."): t for n, t in weights.items()}
    check_finite(weights, str(path))
    record = read_record(content if isinstance(content, Mapping) else {}, path, cfg)

    def fresh() -> nn.Module:
        return build_encoder(cfg) if encoder_only else build_model(cfg)

    model = _load(fresh(), weights, str(path))
    encoder = model if encoder_only else _encoder_of(model)
    images = of_config(cfg, encoder) if encoder is not None else None
    expected = _outputs(model, cfg, images)

    name = model_name(
        cfg, encoder_only, date or datetime.datetime.now(datetime.timezone.utc).date()
    )
    state = model.state_dict()
    meta = {
        "vit_backbones_version": __version__,
        "epoch": record.epoch,
        "iter": record.iteration,
        "dataset_meta": {"classes": record.classes} if record.classes else {},
    }
    config_name = f"{Path(cfg.filename).stem if cfg.filename else name}.py"
    with new_folder(folder, force, mark="metafile.yml") as partial:
        files = []
        for suffix in (".pth", ".safetensors"):
            data = to_bytes(state, suffix, {"meta": meta})
            digest = hashlib.sha256(data).hexdigest()[:8]
            files.append(f"{name}-{digest}{suffix}")
            (partial / files[-1]).write_bytes(data)
        (partial / config_name).write_text(_public(cfg), encoding="utf-8")
        card = Card(
            name=name,
            files=files,
            config=config_name,
            model="" if encoder_only else type(model).__name__,
            encoder=encoder,
            parameters=sum(p.numel() for p in model.parameters()),
            flops=None if encoder is None else count(encoder, images.size).flops,
            images=images,
            record=record,
            task=TASKS.get(cfg.get("default_scope", ""), "Image Representation"),
        )
        (partial / "README.md").write_text(readme(card), encoding="utf-8")
        (partial / "metafile.yml").write_text(metafile(card), encoding="utf-8")
        for file in files:
            again = _load(fresh(), read_state_dict(partial / file), file)
            _compare(_outputs(again, cfg, images), expected, file)
    return Published(Path(folder), tuple(files), record, len(expected) * len(files))


def model_name(cfg: Config, encoder_only: bool, date: datetime.date) -> str:
    """``<config>[_encoder][_<data>]_<date>``: the data set is named where the config's name, by
    OpenMMLab's custom, does not end with it."""
    stem = Path(cfg.filename).stem if cfg.filename else "model"
    loader = cfg.get("train_dataloader") or {}
    data = type_name(loader.get("dataset"))
    data = re.sub(r"(?i)_?dataset$", "", data).lower()
    words = [stem, *(["encoder"] if encoder_only else [])]
    if data and data not in stem.lower():
        words.append(data)
    return "_".join([*words, date.strftime("%Y%m%d")])


def _encoder_of(model: nn.Module) -> Backbone | None:
    backbone = getattr(model, "backbone", None)
    return backbone if isinstance(backbone, Backbone) else None


def _load(model: nn.Module, weights: StateDict, source: str) -> nn.Module:
    """The weights in the model, all of them, or a UserError."""
    if isinstance(model, Backbone):
        try:
            load_checkpoint(model, weights, quiet=True)
        except UserError as error:
            raise UserError(str(error).replace("the state dict", source, 1)) from error
        return model.eval()
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        lines = str(error).replace("\t", "").splitlines()
        raise UserError(
            f"{source} does not hold exactly the weights of this config's model:\n"
            + "\n".join(lines[1:4])
        ) from error
    return model.eval()


def _outputs(model: nn.Module, cfg: Config, images: Preprocessing | None) -> list[Tensor]:
    size = images.size if images is not None else (224, 224)
    if isinstance(model, Backbone):
        return encoder_outputs(model, size)
    return model_outputs(model, cfg.get("default_scope", ""), size)


def _compare(found: list[Tensor], expected: list[Tensor], file: str) -> None:
    """Raise a UserError unless the outputs are the same, bit for bit: so are the weights."""
    same = len(found) == len(expected) and all(
        a.shape == b.shape and torch.equal(a, b) for a, b in zip(found, expected)
    )
    if not same:
        raise UserError(
            f"{file}, loaded into a fresh model, gives other outputs than the checkpoint; nothing "
            "was published. Please report this"
        )


def _public(cfg: Config) -> str:
    """The config's text without what only concerns the machine of the run."""
    shown: dict[str, Any] = {k: v for k, v in cfg.to_dict().items() if k not in PRIVATE}
    return Config(shown).pretty_text
