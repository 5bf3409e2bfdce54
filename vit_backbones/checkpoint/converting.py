"""From any file of weights to a file for another library."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..backbones.base import Backbone
from ..errors import UserError, some
from ..layers.attention import without_key_bias
from .finding import Found, find_encoder
from .layouts import TARGETS as LAYOUTS_TO_WRITE
from .layouts import StateDict
from .peers import TARGETS, loading_code
from .peers.huggingface import huggingface_config
from .peers.torchvision import constants
from .preprocessing import Preprocessing, of_preset
from .reading import check_finite
from .writing import SUFFIXES, new_folder, to_bytes, write_file

# In what OpenMMLab's libraries save, every name of the encoder begins so; mmdet's Swin reads no
# other.
PREFIXES = {"mmpretrain": "backbone.", "mmdet": "backbone."}
PROCESSORS = {  # of transformers, by model_type
    "dinov2": "BitImageProcessor",
    "dinov2_with_registers": "BitImageProcessor",
    "dinov3_vit": "DINOv3ViTImageProcessor",
    "clip_vision_model": "CLIPImageProcessor",
}


@dataclass(frozen=True)
class Conversion:
    """What :func:`convert` wrote.

    Attributes:
        found: What was read.
        path: The file, or folder.
        layout: In whose names it was written.
        code: Python code that loads it there; None where the encoder's settings are not known.
        written: The weights by their names.
    """

    found: Found
    path: Path
    layout: str
    code: str | None
    written: StateDict = field(repr=False)


def convert(
    source: str | Path | Mapping[str, Tensor],
    path: str | Path,
    target: str,
    *,
    encoder: Backbone | None = None,
    preprocessing: Preprocessing | None = None,
    force: bool = False,
) -> Conversion:
    """Write a file of weights for another library.

    Args:
        source: Anything that :func:`load_checkpoint` reads.
        path: A .pth or .safetensors file; for 'huggingface' a folder.
        target: 'native', 'timm', 'mmpretrain', 'mmdet', 'torchvision' or 'huggingface'.
        encoder: What the weights are, where names and shapes don't tell.
        preprocessing: For 'huggingface': what is done to images; by default, what the authors of
            the preset do.
        force: Replace what is there.

    Raises:
        UserError: The source can't be read or is no whole encoder; the target has no place for a
            parameter, or no model that computes the same; or the path is taken. Nothing is written.
    """
    if target not in TARGETS:
        raise UserError(f"there is no target '{target}'; the targets: {', '.join(TARGETS)}")
    path = Path(path)
    if target != "huggingface" and path.suffix not in SUFFIXES:
        raise UserError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    found = find_encoder(source, encoder)
    if path.exists() and os.path.exists(found.source) and os.path.samefile(found.source, path):
        raise UserError(f"{path} is what is to be converted; take another name for the result")
    check_finite(found.native, found.source)
    layout, state = translate(found.type, found.native, target, found.encoder)
    if target == "huggingface":
        chosen, name = _choose(found)
        if preprocessing is None:
            preprocessing = _preprocessing_of(name, chosen)
        write_huggingface_folder(path, chosen, state, preprocessing, force)
        return Conversion(found, path, layout, loading_code(target, chosen, str(path)), state)
    code = _code_of_all(found, target, str(path), state)
    if target == "torchvision" and found.encoder is not None:
        state |= constants(found.encoder)
    prefix = PREFIXES.get(target, "")
    state = {prefix + n: t for n, t in state.items()}
    extra = {"meta": {}} if prefix else {}  # mmdet and mmpretrain look under 'state_dict'
    write_file(path, to_bytes(state, path.suffix, extra), force)
    return Conversion(found, path, layout, code, state)


def translate(
    model_type: str, native: StateDict, target: str, encoder: Backbone | None = None
) -> tuple[str, StateDict]:
    """Our state dict in a target's names, and what that layout is called.

    Args:
        encoder: Whose it is, where that is known. Names and shapes don't tell whether positions are
            rotary, nor whether the class token has one, where the grid is no square.

    Raises:
        UserError: It has no place for a parameter.
    """
    if target == "native":
        return "native", dict(native)
    layouts = LAYOUTS_TO_WRITE.get(target, {}).get(model_type, ())
    if not layouts:
        able = [t for t, kinds in LAYOUTS_TO_WRITE.items() if kinds.get(model_type)]
        raise UserError(
            f"{target} has no {model_type} of its own; it can be written for native, "
            f"{', '.join(able)}. mmpretrain, mmdet and mmseg also use this package's: "
            f"backbone=dict(type='vit_backbones.{model_type}', ...)"
        )
    rotary = class_positions = None
    if encoder is not None and model_type == "VisionTransformer":
        arch = encoder.arch
        rotary = "rope2d" in arch.positions
        class_positions = int(arch.cls_token and arch.pos_embed_cls)
        native = native if arch.key_bias else _without_key_biases(native)
    for layout in layouts:
        if layout.holds(native, rotary):
            return layout.name, layout.from_native(native, class_positions)
    homeless = min((layout.homeless(native) for layout in layouts), key=len)
    reason = some(homeless, 3) or (
        "rotary position beside its other parts" if rotary else "its gated MLPs"
    )
    raise UserError(f"{target} has no place for {reason} of this {model_type}; nothing was written")


def _without_key_biases(native: StateDict) -> StateDict:
    """With the keys' part of all biases at zero: the encoder leaves it out."""
    biases = [name for name in native if name.endswith("attn.qkv.bias")]
    return native | {name: without_key_bias(native[name]) for name in biases}


def write_huggingface_folder(
    path: str | Path,
    encoder: Backbone,
    state: StateDict,
    preprocessing: Preprocessing,
    force: bool = False,
) -> None:
    """A folder that ``AutoModel.from_pretrained`` and ``AutoImageProcessor`` open.

    Args:
        encoder: Whose settings config.json tells.
        state: The weights by transformers' names.

    Raises:
        UserError: transformers has no such model, or the folder is there already.
    """
    config = huggingface_config(encoder)
    state = dict(state)
    for end in ("weight", "bias"):  # AutoModel has the last norm alone, SwinBackbone all
        last = f"hidden_states_norms.stage{len(getattr(encoder.arch, 'depths', ()))}.{end}"
        if last in state:
            state[f"layernorm.{end}"] = state[last]
    dtypes = {str(t.dtype).removeprefix("torch.") for t in state.values()}
    if "key_bias" in config:
        config["key_bias"] = any(n.endswith("k_proj.bias") for n in state)  # not where it is zero
    config["dtype"] = dtypes.pop() if len(dtypes) == 1 else "float32"
    processor = PROCESSORS.get(config["model_type"], "ViTImageProcessor")
    if preprocessing.shorter_side is not None and processor == "ViTImageProcessor":
        processor = "BitImageProcessor"  # the one that crops
    files = {
        "config.json": _json(config),
        "preprocessor_config.json": _json(preprocessing.to_huggingface(processor)),
        "model.safetensors": to_bytes(state, ".safetensors"),
    }
    with new_folder(path, force, mark="config.json") as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _choose(found: Found) -> tuple[Backbone, str]:
    """The encoder, and the preset whose images it takes.

    Raises:
        UserError: It is like no preset, or like several that are not used alike.
    """
    if not found.encoders:
        raise UserError(
            f"{found.source} is {found.description}. Names and shapes don't tell its number of "
            "heads, windows and the like, which config.json holds: give --config or --arch"
        )
    ways = {}
    for name, encoder in found.encoders.items():
        if name == "arch":
            return encoder, name
        ways[name] = (huggingface_config(encoder), of_preset(name, encoder))
    first = next(iter(ways))
    if any(way != ways[first] for way in ways.values()):
        raise UserError(
            f"{found.source} has the names and shapes of {', '.join(ways)}, whose images are "
            "normalised in different ways: say with --arch which it is"
        )
    return found.encoders[first], first


def _preprocessing_of(name: str, encoder: Backbone) -> Preprocessing:
    if name == "arch":
        raise UserError(
            "preprocessor_config.json says how images are normalised: name a preset with --arch, "
            "give the config of the run, or --mean and --std"
        )
    return of_preset(name, encoder)


def _code_of_all(found: Found, target: str, path: str, state: StateDict) -> str | None:
    """The code that loads the file, where all that it may be is loaded alike."""
    codes = {loading_code(target, encoder, path, state) for encoder in found.encoders.values()}
    return codes.pop() if len(codes) == 1 else None
