"""Names of Swin and Swin v2 in other projects. Ours are their authors'."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ...layers.relative_bias import relative_index, window_of
from ..resizing import resize_bias_table_geometrically
from .layout import Layout, StateDict, rename

_TABLE = "layers.*.blocks.*.attn.relative_position_bias_table"
SWIN_NAMES = (
    "absolute_pos_embed",
    "patch_embed.proj.*",
    "patch_embed.norm.*",
    "layers.*.blocks.*.norm1.*",
    _TABLE,
    "layers.*.blocks.*.attn.logit_scale",
    "layers.*.blocks.*.attn.cpb_mlp.*.*",
    "layers.*.blocks.*.attn.q_bias",
    "layers.*.blocks.*.attn.v_bias",
    "layers.*.blocks.*.attn.qkv.*",
    "layers.*.blocks.*.attn.proj.*",
    "layers.*.blocks.*.norm2.*",
    "layers.*.blocks.*.mlp.fc1.*",
    "layers.*.blocks.*.mlp.fc2.*",
    "layers.*.downsample.*.*",
    "norm.*",
    "norm0.*",
    "norm1.*",
    "norm2.*",
    "norm3.*",
)
# What the authors' code computes and yet saves
_CONSTANTS = (
    "attn_mask",
    "attn.relative_position_index",
    "attn.relative_coords_table",
)

SWIN = Layout(
    "Swin's authors",
    ("patch_embed.proj.weight", "layers.*.blocks.*.norm1.weight"),
    names={name: name for name in SWIN_NAMES},
    ignored=("mask_token", *(f"layers.*.blocks.*.{name}" for name in _CONSTANTS)),
)


def _move_merging(stages: int) -> Callable[..., StateDict]:
    """The merging's names so many stages later: some have it in front of the stage that it leads
    to."""

    def place(match: re.Match) -> str:
        return f"{match[1]}.{int(match[2]) + stages}.downsample."

    return lambda state, *_: rename(state, r"(layers|stages)\.(\d+)\.downsample\.", place)


TIMM_SWIN = replace(
    SWIN,
    name="timm",
    names={name: name for name in SWIN_NAMES if not re.match(r"norm\d|absolute", name)},
    decode=_move_merging(-1),
    encode=_move_merging(1),
    resize_bias_table=resize_bias_table_geometrically,
)


def _turn_merging(state: StateDict, turn: Callable[[Tensor], Tensor]) -> StateDict:
    """Reorder the four neighbours in the merging's channels: of the reduction, and of the norm
    where that stands before it."""
    for name in [n for n in state if n.endswith("downsample.reduction.weight")]:
        stem = name.removesuffix("reduction.weight")
        width = state[name].shape[1]
        for part in (name, stem + "norm.weight", stem + "norm.bias"):
            if part in state and state[part].shape[-1] == width and width % 4 == 0:
                state[part] = turn(state[part])
    return state


def _from_unfold(weight: Tensor) -> Tensor:
    """(channel, row, column), nn.Unfold's order -> the authors' (column, row, channel)."""
    return weight.unflatten(-1, (-1, 2, 2)).transpose(-1, -3).flatten(-3)


def _to_unfold(weight: Tensor) -> Tensor:
    return weight.unflatten(-1, (2, 2, -1)).transpose(-1, -3).flatten(-3)


def _with_index(state: StateDict, square: bool) -> StateDict:
    """With the buffers that say where in a bias table each pair of a window's slots is, as matrices
    or flat; they follow from the table's size."""
    for name in [n for n in state if n.endswith("relative_position_bias_table")]:
        window = window_of(state[name])
        index = relative_index(window, window, torch.device("cpu")).clone()
        shaped = index.unflatten(0, (window**2, window**2)) if square else index
        state[name.replace("bias_table", "index")] = shaped
    return state


def _encode_mm(state: StateDict, *_) -> StateDict:
    """The norm of the last stage has its number, even where it is the only one."""
    stages = [int(match[1]) for name in state if (match := re.match(r"stages\.(\d+)\.", name))]
    state = rename(state, r"norm\.", f"norm{max(stages, default=0)}.")
    return _with_index(_turn_merging(state, _to_unfold), square=True)


# mmpretrain, mmdet and mmseg
MM_SWIN = Layout(
    "mmpretrain, mmdet, mmseg",
    ("patch_embed.projection.weight", "stages.*.blocks.*.attn.w_msa.qkv.weight"),
    names={
        "absolute_pos_embed": "absolute_pos_embed",
        "patch_embed.proj.*": "patch_embed.projection.*",
        "patch_embed.norm.*": "patch_embed.norm.*",
        "layers.*.blocks.*.norm1.*": "stages.*.blocks.*.norm1.*",
        _TABLE: "stages.*.blocks.*.attn.w_msa.relative_position_bias_table",
        "layers.*.blocks.*.attn.qkv.*": "stages.*.blocks.*.attn.w_msa.qkv.*",
        "layers.*.blocks.*.attn.proj.*": "stages.*.blocks.*.attn.w_msa.proj.*",
        "layers.*.blocks.*.norm2.*": "stages.*.blocks.*.norm2.*",
        "layers.*.blocks.*.mlp.fc1.*": "stages.*.blocks.*.ffn.layers.0.0.*",
        "layers.*.blocks.*.mlp.fc2.*": "stages.*.blocks.*.ffn.layers.1.*",
        "layers.*.downsample.*.*": "stages.*.downsample.*.*",
        **{f"norm{stage}.*": f"norm{stage}.*" for stage in ("", 0, 1, 2, 3)},
    },
    ignored=("mask_token", "stages.*.blocks.*.attn.w_msa.relative_position_index"),
    decode=lambda state: _turn_merging(state, _from_unfold),
    encode=_encode_mm,
)
# mmpretrain's version 2 has the merging at the start of the next stage
MM_SWINV2 = replace(
    MM_SWIN,
    name="mmpretrain Swin v2",
    names={
        **{ours: theirs for ours, theirs in MM_SWIN.names.items() if ours != _TABLE},
        "layers.*.blocks.*.attn.logit_scale": "stages.*.blocks.*.attn.w_msa.logit_scale",
        "layers.*.blocks.*.attn.cpb_mlp.*.*": "stages.*.blocks.*.attn.w_msa.cpb_mlp.*.*",
        "layers.*.blocks.*.attn.q_bias": "stages.*.blocks.*.attn.w_msa.q_bias",
        "layers.*.blocks.*.attn.v_bias": "stages.*.blocks.*.attn.w_msa.v_bias",
    },
    ignored=(*MM_SWIN.ignored, "stages.*.blocks.*.attn.w_msa.relative_coords_table"),
    decode=lambda state: _turn_merging(_move_merging(-1)(state), _from_unfold),
    encode=lambda state, *_: _move_merging(1)(_encode_mm(state)),
)


def _decode_torchvision(state: StateDict) -> StateDict:
    """Its numbers of the parts: 0 the embedding, then stages and mergings in turn."""

    def place(match: re.Match) -> str:
        part = int(match[1])
        return f"layers.{part // 2}.blocks." if part % 2 else f"layers.{part // 2 - 1}.downsample."

    state = rename(state, r"features\.([1-9]\d*)\.", place)
    for name in [n for n in state if n.endswith("attn.qkv.bias")]:
        attn = name.removesuffix("qkv.bias")
        if attn + "logit_scale" in state:  # version 2 masks the keys' part, whatever is there
            state[attn + "q_bias"], _, state[attn + "v_bias"] = state.pop(name).chunk(3)
    return state


def _encode_torchvision(state: StateDict, *_) -> StateDict:
    for name in [n for n in state if n.endswith("attn.q_bias")]:
        attn = name.removesuffix("q_bias")
        q, v = state.pop(name), state.pop(attn + "v_bias")
        state[attn + "qkv.bias"] = torch.cat([q, torch.zeros_like(q), v])

    def place(match: re.Match) -> str:
        stage = int(match[1])
        return f"features.{2 * stage + (1 if match[2] == 'blocks' else 2)}."

    return rename(_with_index(state, square=False), r"layers\.(\d+)\.(blocks|downsample)\.", place)


TORCHVISION_SWIN = Layout(
    "torchvision",
    ("features.*.*.attn.qkv.weight",),
    names={
        **TIMM_SWIN.names,
        "patch_embed.proj.*": "features.0.0.*",
        "patch_embed.norm.*": "features.0.2.*",
        "layers.*.blocks.*.mlp.fc1.*": "layers.*.blocks.*.mlp.0.*",
        "layers.*.blocks.*.mlp.fc2.*": "layers.*.blocks.*.mlp.3.*",
    },
    ignored=(
        "features.*.*.attn.relative_position_index",
        "features.*.*.attn.relative_coords_table",
    ),
    decode=_decode_torchvision,
    encode=_encode_torchvision,
)

_HF_BLOCK = "encoder.layers.*.blocks.*"


def _decode_hf(state: StateDict) -> StateDict:
    """SwinBackbone has norms of its outputs beside 'swin.', and a final one that it never uses."""
    state = {name.removeprefix("swin."): tensor for name, tensor in state.items()}
    if any(name.startswith("hidden_states_norms.") for name in state):
        state = {n: t for n, t in state.items() if not n.startswith("layernorm.")}
    return state


HF_SWIN = Layout(
    "Hugging Face Swin",
    (
        "swin?.embeddings.patch_embeddings.projection.weight",
        "swin?.encoder.layers.*.blocks.*.layernorm_before.weight",
    ),
    names={
        "absolute_pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj.*": "embeddings.patch_embeddings.projection.*",
        "patch_embed.norm.*": "embeddings.norm.*",
        "layers.*.blocks.*.norm1.*": f"{_HF_BLOCK}.layernorm_before.*",
        _TABLE: f"{_HF_BLOCK}.attention.self.relative_position_bias_table",
        "layers.*.blocks.*.attn.logit_scale": f"{_HF_BLOCK}.attention.self.logit_scale",
        "layers.*.blocks.*.attn.cpb_mlp.*.*": (
            f"{_HF_BLOCK}.attention.self.continuous_position_bias_mlp.*.*"
        ),
        "layers.*.blocks.*.attn.qkv.*": tuple(
            f"{_HF_BLOCK}.attention.self.{part}.*" for part in ("query", "key", "value")
        ),
        # version 2, whose keys have no bias
        "layers.*.blocks.*.attn.q_bias": f"{_HF_BLOCK}.attention.self.query.bias",
        "layers.*.blocks.*.attn.v_bias": f"{_HF_BLOCK}.attention.self.value.bias",
        "layers.*.blocks.*.attn.proj.*": f"{_HF_BLOCK}.attention.output.dense.*",
        "layers.*.blocks.*.norm2.*": f"{_HF_BLOCK}.layernorm_after.*",
        "layers.*.blocks.*.mlp.fc1.*": f"{_HF_BLOCK}.intermediate.dense.*",
        "layers.*.blocks.*.mlp.fc2.*": f"{_HF_BLOCK}.output.dense.*",
        "layers.*.downsample.*.*": "encoder.layers.*.downsample.*.*",
        "norm.*": "layernorm.*",
        **{f"norm{i}.*": f"hidden_states_norms.stage{i + 1}.*" for i in range(4)},
    },
    aliases=[  # in memory, since transformers 5
        (_TABLE, f"{_HF_BLOCK}.attention.relative_position_bias.relative_position_bias_table"),
        (
            "layers.*.blocks.*.attn.qkv.*",
            tuple(f"{_HF_BLOCK}.attention.{part}_proj.*" for part in "qkv"),
        ),
        ("layers.*.blocks.*.attn.proj.*", f"{_HF_BLOCK}.attention.o_proj.*"),
        ("layers.*.blocks.*.mlp.fc1.*", f"{_HF_BLOCK}.mlp.fc1.*"),
        ("layers.*.blocks.*.mlp.fc2.*", f"{_HF_BLOCK}.mlp.fc2.*"),
    ],
    ignored=tuple(
        prefix + name
        for prefix in ("", "swin.")
        for name in (
            "pooler.dense.*",
            "embeddings.mask_token",
            f"{_HF_BLOCK}.attention.self.relative_position_index",
            f"{_HF_BLOCK}.attention.self.relative_coords_table",
        )
    ),
    decode=_decode_hf,
)
