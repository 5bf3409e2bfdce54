"""Saying which of our presets some weights are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

import torch
from torch import Tensor

from ..backbones.presets import PRESETS, build_backbone
from .layouts import NAMES
from .layouts.layout import matches
from .recognition import KERNEL

Shape = tuple[int, ...]

# Settings that make an encoder what a file is, by the parameters that only one of the two has.
WITHOUT = {
    "blocks.*.ls1.gamma": "layer_scale_init=None",
    "blocks.*.ls2.gamma": "layer_scale_init=None",
    "blocks.*.attn.qkv.bias": "qkv_bias=False",
    "layers.*.blocks.*.attn.qkv.bias": "qkv_bias=False",
    "layers.*.blocks.*.attn.q_bias": "qkv_bias=False",
    "layers.*.blocks.*.attn.v_bias": "qkv_bias=False",
    "reg_token": "num_registers=0",
    "cls_token": "cls_token=False",
    "absolute_pos_embed": "use_abs_pos_embed=False",
}
WITH = {
    "fc_norm.*": "pool_norm=True, final_norm=False",
    "blocks.*.ls1.gamma": "layer_scale_init=1.0",
    "blocks.*.ls2.gamma": "layer_scale_init=1.0",
    "blocks.*.attn.q_norm.*": "qk_norm=True",
    "blocks.*.attn.k_norm.*": "qk_norm=True",
    "norm_pre.*": "pre_norm=True",
    "reg_token": "num_registers of the file",
    "absolute_pos_embed": "use_abs_pos_embed=True",
}
# What the first bring with them, an encoder with the others doesn't have.
INSTEAD = {"fc_norm.weight": "norm.*", "norm_pre.weight": "patch_embed.proj.bias"}


def describe(model_type: str, native: Mapping[str, Tensor]) -> str:
    """'vit_s16 or deit_s16 or dino_s16 (width 384, 12 blocks)', or only numbers."""
    kernel = native.get(KERNEL)
    width = f"width {len(kernel)}" if kernel is not None and kernel.ndim else "no patch embedding"
    blocks = sum(name.endswith(".norm1.weight") for name in native)
    presets = likeliest_presets(model_type, native)
    name = " or ".join(presets) if presets else f"a {model_type} like no preset"
    return f"{name} ({width}, {blocks} blocks)"


def likeliest_presets(model_type: str, native: Mapping[str, Tensor]) -> list[str]:
    """The presets whose parameters are most like these by name and shape, [] where none's are.

    They are several where the same parameters serve several recipes.
    """
    shapes = {n: tuple(t.shape) for n, t in native.items() if matches(NAMES[model_type], n)}
    kernel = shapes.get(KERNEL)
    scores = {}
    for name, preset in PRESETS.items():
        width = preset.settings.get("embed_dims")
        if preset.type != model_type or (kernel and width and kernel[0] != width):
            continue
        own = _preset_shapes(name)
        both = own.keys() & shapes.keys()
        same = sum(own[n] == shapes[n] for n in both)
        if 2 * same > len(shapes):
            # a name that the preset hasn't weighs more than one that the file lacks, which may
            # be a part
            foreign, lacking = len(shapes.keys() - both), len(own.keys() - both)
            scores[name] = 2 * same - len(both) - 2 * foreign - lacking
    best = max(scores.values(), default=0)
    return [name for name, score in scores.items() if score == best]


def settings_for(own: Iterable[str], native: Iterable[str], lacking: Iterable[str]) -> list[str]:
    """The settings of an encoder that make it what a file is; none where more than they differ.

    Args:
        own, native: Names of the encoder's parameters, and of those in the file.
        lacking: Of the encoder's, those that it wants of the file in vain.
    """
    foreign = [name for name in native if name not in own]
    replaced = [pattern for name, pattern in INSTEAD.items() if name in foreign]
    lacking = [name for name in lacking if not matches(replaced, name)]
    found = []
    for table, names, others in ((WITHOUT, lacking, native), (WITH, foreign, own)):
        for name in names:
            pattern = next((pattern for pattern in table if matches((pattern,), name)), None)
            if pattern is None or any(matches((pattern,), other) for other in others):
                return []
            found.append(table[pattern])
    return list(dict.fromkeys(found))


@cache
def _preset_shapes(name: str) -> dict[str, Shape]:
    with torch.device("meta"):
        return {n: tuple(t.shape) for n, t in build_backbone(name).state_dict().items()}
