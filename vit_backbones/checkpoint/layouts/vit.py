"""Names of plain ViTs in other projects. Ours are timm's."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ...errors import UserError
from ...layers.attention import without_key_bias
from .layout import Layout, StateDict, rename

VIT_NAMES = (
    "cls_token",
    "reg_token",
    "pos_embed",
    "patch_embed.proj.*",
    "norm_pre.*",
    "blocks.*.norm1.*",
    "blocks.*.attn.qkv.*",
    "blocks.*.attn.q_norm.*",
    "blocks.*.attn.k_norm.*",
    "blocks.*.attn.rel_pos_h",
    "blocks.*.attn.rel_pos_w",
    "blocks.*.attn.key_projection",
    "blocks.*.attn.value_projection",
    "blocks.*.attn.proj.*",
    "blocks.*.ls1.gamma",
    "blocks.*.norm2.*",
    "blocks.*.mlp.fc1.*",
    "blocks.*.mlp.fc2.*",
    "blocks.*.ls2.gamma",
    "norm.*",
    "fc_norm.*",
)


def class_positions(pos: Tensor, known: int | None = None) -> int:
    """How many positions (1, N, C) stand before those of the grid, none or one: what is ``known``,
    else as of a square grid."""
    if known is not None:
        return known
    return 0 if math.isqrt(pos.shape[1]) ** 2 == pos.shape[1] else 1


def add_class_position(state: StateDict, name: str, known: int | None) -> StateDict:
    """With a zero position for a class token that has none of its own among those of ``name``."""
    pos = state.get(name)
    if pos is not None and not class_positions(pos, known):
        state[name] = torch.cat([torch.zeros_like(pos[:, :1]), pos], dim=1)
    return state


def flatten_position_map(state: StateDict) -> StateDict:
    """SAM's position map (1, h, w, C) as a sequence (1, h * w, C)."""
    pos = state.get("pos_embed")
    if pos is not None and pos.ndim == 4:
        state["pos_embed"] = pos.flatten(1, 2)
    return state


def position_map(state: StateDict, known: int | None = None) -> StateDict:
    """Positions (1, N, C) as SAM's map (1, h, w, C)."""
    pos = state["pos_embed"]
    side = math.isqrt(pos.shape[1])
    if side * side != pos.shape[1] or class_positions(pos, known):
        raise UserError(f"{pos.shape[1]} positions are no square map, which this layout holds")
    state["pos_embed"] = pos.unflatten(1, (side, side))
    return state


def without_distillation(state: StateDict, token: str, positions: str) -> StateDict:
    """DeiT without its distillation token and that token's position, the second."""
    if state.pop(token, None) is not None and positions in state:
        pos = state[positions]
        state[positions] = pos[:, [0, *range(2, pos.shape[1])]]
    return state


def _decode_timm(state: StateDict) -> StateDict:
    # DINOv2's authors train with blocks in chunks: number of the chunk, then of the block
    state = rename(state, r"blocks\.\d+\.(\d+)\.", r"blocks.\1.")
    state = without_distillation(flatten_position_map(state), "dist_token", "pos_embed")
    for name in [n for n in state if n.endswith("attn.qkv.bias_mask")]:
        # DINOv3's authors mask the keys' part of the bias
        del state[name]
        bias = name.removesuffix("_mask")
        state[bias] = without_key_bias(state[bias])
    if any(name.startswith("fpn1.") for name in state):
        # ViTAE's ViTDet takes relative positions of queries that are already scaled
        for name in [n for n in state if n.endswith(("attn.rel_pos_h", "attn.rel_pos_w"))]:
            state[name] = state[name] * state[name].shape[-1] ** -0.5
    for name in [n for n in state if n.endswith(".gamma_1")]:
        # timm leaves DINOv3's biases out where they are zero
        attn = name.replace("gamma_1", "attn.")
        weight = state.get(attn + "qkv.weight")
        if weight is not None and not {attn + "qkv.bias", attn + "q_bias"} & state.keys():
            state[attn + "qkv.bias"] = weight.new_zeros(len(weight))
    return state


def _encode_timm(state: StateDict, known: int | None = None) -> StateDict:
    """timm's models with registers have no position for the class token: it is added to it."""
    pos = state.get("pos_embed")
    if "reg_token" in state and pos is not None and class_positions(pos, known):
        state["cls_token"] = state["cls_token"] + pos[:, :1]
        state["pos_embed"] = pos[:, 1:]
    return state


# timm, and the authors of DeiT, DeiT-III, MAE, DINO, DINOv2, DINOv3, ViTDet, whose names timm took.
TIMM = Layout(
    "timm (native)",
    ("patch_embed.proj.weight", "blocks.*.norm1.weight"),
    names={name: name for name in VIT_NAMES},
    aliases=[
        ("reg_token", "register_tokens"),  # DINOv2's authors
        ("reg_token", "storage_tokens"),  # DINOv3's authors
        ("blocks.*.ls1.gamma", "blocks.*.gamma_1"),  # DeiT-III's authors; timm's DINOv3
        ("blocks.*.ls2.gamma", "blocks.*.gamma_2"),
        ("blocks.*.mlp.fc1.*", "blocks.*.mlp.w12.*"),  # DINOv2's authors
        ("blocks.*.mlp.fc1.*", ("blocks.*.mlp.w1.*", "blocks.*.mlp.w2.*")),  # DINOv3's authors
        ("blocks.*.mlp.fc2.*", "blocks.*.mlp.w3.*"),
        ("blocks.*.mlp.fc1.*", ("blocks.*.mlp.fc1_g.*", "blocks.*.mlp.fc1_x.*")),  # timm's DINOv3
        ("blocks.*.mlp.fc1.*", "blocks.*.mlp.lin1.*"),  # SAM's authors
        ("blocks.*.mlp.fc2.*", "blocks.*.mlp.lin2.*"),
        (
            "blocks.*.attn.qkv.bias",
            ("blocks.*.attn.q_bias", "blocks.*.attn.k_bias?", "blocks.*.attn.v_bias"),
        ),
    ],
    ignored=["mask_token", "rope_embed.periods"],
    # relative positions that all blocks share (BEiT, timm's), learnt rotary frequencies, ViTPose's
    # final norm (its class position is added to all), ViT-Adapter's
    foreign=(
        *("rel_pos_bias.", "shared_rel_pos.", "rope.freqs", "last_norm."),
        *("spm.", "interactions."),
    ),
    decode=_decode_timm,
    encode=_encode_timm,
    rotary=False,
)


def _drop_zero_biases(state: StateDict, *_) -> StateDict:
    """timm has DINOv3 without queries' and values' biases where these are all zero."""
    biases = [n for n in state if n.endswith(("attn.q_bias", "attn.v_bias"))]
    if not any(state[name].is_meta or state[name].any() for name in biases):
        for name in biases:
            del state[name]
    return state


TIMM_DINOV3 = Layout(
    "timm DINOv3",
    TIMM.anchors,
    names={
        "cls_token": "cls_token",
        "reg_token": "reg_token",
        "patch_embed.proj.*": "patch_embed.proj.*",
        "blocks.*.norm1.*": "blocks.*.norm1.*",
        "blocks.*.attn.qkv.weight": "blocks.*.attn.qkv.weight",
        "blocks.*.attn.qkv.bias": (
            "blocks.*.attn.q_bias",
            "blocks.*.attn.k_bias?",
            "blocks.*.attn.v_bias",
        ),
        "blocks.*.attn.proj.*": "blocks.*.attn.proj.*",
        "blocks.*.ls1.gamma": "blocks.*.gamma_1",
        "blocks.*.norm2.*": "blocks.*.norm2.*",
        "blocks.*.mlp.fc1.*": "blocks.*.mlp.fc1.*",
        "blocks.*.mlp.fc2.*": "blocks.*.mlp.fc2.*",
        "blocks.*.ls2.gamma": "blocks.*.gamma_2",
        "norm.*": "norm.*",
    },
    encode=_drop_zero_biases,
    gated=False,
    rotary=True,
)
TIMM_DINOV3_GATED = replace(
    TIMM_DINOV3,
    name="timm DINOv3 with gated MLP",
    names={
        **TIMM_DINOV3.names,
        "blocks.*.mlp.fc1.*": ("blocks.*.mlp.fc1_g.*", "blocks.*.mlp.fc1_x.*"),
    },
    gated=True,
)

# Windows and decomposed relative position, no class token, no final norm
_VITDET_NAMES = (
    "pos_embed",
    "patch_embed.proj.*",
    "blocks.*.norm1.*",
    "blocks.*.attn.qkv.*",
    "blocks.*.attn.proj.*",
    "blocks.*.attn.rel_pos_h",
    "blocks.*.attn.rel_pos_w",
    "blocks.*.norm2.*",
    "blocks.*.mlp.fc1.*",
    "blocks.*.mlp.fc2.*",
)
TIMM_SAM = Layout(
    "timm SAM",
    TIMM.anchors,
    names={name: name for name in _VITDET_NAMES},
    encode=position_map,
)

TORCHVISION = Layout(
    "torchvision",
    ("conv_proj.weight", "encoder.layers.encoder_layer_*.ln_1.weight"),
    names={
        "cls_token": "class_token",
        "pos_embed": "encoder.pos_embedding",
        "patch_embed.proj.*": "conv_proj.*",
        "blocks.*.norm1.*": "encoder.layers.encoder_layer_*.ln_1.*",
        "blocks.*.attn.qkv.*": "encoder.layers.encoder_layer_*.self_attention.in_proj_*",
        "blocks.*.attn.proj.*": "encoder.layers.encoder_layer_*.self_attention.out_proj.*",
        "blocks.*.norm2.*": "encoder.layers.encoder_layer_*.ln_2.*",
        "blocks.*.mlp.fc1.*": "encoder.layers.encoder_layer_*.mlp.0.*",
        "blocks.*.mlp.fc2.*": "encoder.layers.encoder_layer_*.mlp.3.*",
        "norm.*": "encoder.ln.*",
    },
    aliases=[  # the published files
        ("blocks.*.mlp.fc1.*", "encoder.layers.encoder_layer_*.mlp.linear_1.*"),
        ("blocks.*.mlp.fc2.*", "encoder.layers.encoder_layer_*.mlp.linear_2.*"),
    ],
    gated=False,
)


def _with_class_position(state: StateDict, known: int | None = None) -> StateDict:
    """For mmpretrain's VisionTransformer, since its DeiT3 feeds the MLPs from the norm of the
    attention."""
    return add_class_position(state, "pos_embed", known) if "cls_token" in state else state


def _decode_mm(state: StateDict) -> StateDict:
    state = without_distillation(state, "dist_token", "pos_embed")
    kernel, bias = (f"patch_embed.projection.{name}" for name in ("weight", "bias"))
    mmseg = any(name.endswith("attn.attn.in_proj_weight") for name in state)
    if mmseg and kernel in state and bias not in state:
        state[bias] = state[kernel].new_zeros(len(state[kernel]))  # mmseg's patches have none
    return state


MMPRETRAIN = Layout(
    "mmpretrain",
    ("patch_embed.projection.weight", "layers.*.ln1.weight"),
    names={
        "cls_token": "cls_token",
        "pos_embed": "pos_embed",
        "patch_embed.proj.*": "patch_embed.projection.*",
        "norm_pre.*": "pre_norm.*",
        "blocks.*.norm1.*": "layers.*.ln1.*",
        "blocks.*.attn.qkv.*": "layers.*.attn.qkv.*",
        "blocks.*.attn.proj.*": "layers.*.attn.proj.*",
        "blocks.*.ls1.gamma": "layers.*.attn.gamma1.weight",
        "blocks.*.norm2.*": "layers.*.ln2.*",
        "blocks.*.mlp.fc1.*": "layers.*.ffn.layers.0.0.*",
        "blocks.*.mlp.fc2.*": "layers.*.ffn.layers.1.*",
        "blocks.*.ls2.gamma": "layers.*.ffn.gamma2.weight",
        "norm.*": "ln1.*",
        "fc_norm.*": "ln2.*",
    },
    aliases=[  # mmseg
        ("blocks.*.attn.qkv.*", "layers.*.attn.attn.in_proj_*"),
        ("blocks.*.attn.proj.*", "layers.*.attn.attn.out_proj.*"),
    ],
    ignored=["mask_token"],
    decode=_decode_mm,
    encode=_with_class_position,
    gated=False,
)
MMPRETRAIN_GATED = replace(
    MMPRETRAIN,
    name="mmpretrain, gated MLP",
    names={
        **MMPRETRAIN.names,
        "blocks.*.mlp.fc1.*": "layers.*.ffn.w12.*",
        "blocks.*.mlp.fc2.*": "layers.*.ffn.w3.*",
    },
    gated=True,
)
MMPRETRAIN_SAM = replace(
    MMPRETRAIN,
    name="mmpretrain ViTSAM",
    names={
        **{ours: MMPRETRAIN.names.get(ours) for ours in _VITDET_NAMES},
        "blocks.*.attn.rel_pos_h": "layers.*.attn.rel_pos_h",
        "blocks.*.attn.rel_pos_w": "layers.*.attn.rel_pos_w",
    },
    decode=flatten_position_map,
    encode=position_map,
)
