"""Names of plain ViTs in transformers.

Its version 5 renamed modules but writes files with the names of version 4: ``names`` are those of
the files, ``aliases`` those in memory.
"""

from __future__ import annotations

from dataclasses import replace

from .layout import Layout, StateDict
from .vit import add_class_position, without_distillation

_POSITIONS = "embeddings.position_embeddings"
_EMBEDDINGS = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": _POSITIONS,
    "patch_embed.proj.*": "embeddings.patch_embeddings.projection.*",
}
_ATTENTION = {
    "blocks.*.attn.qkv.*": tuple(
        f"encoder.layer.*.attention.attention.{part}.*" for part in ("query", "key", "value")
    ),
    "blocks.*.attn.proj.*": "encoder.layer.*.attention.output.dense.*",
}


def _attention_in_memory(layer: str) -> list[tuple[str, str | tuple[str, ...]]]:
    qkv = tuple(f"{layer}.attention.{part}_proj.*" for part in "qkv")
    return [
        ("blocks.*.attn.qkv.*", qkv),
        ("blocks.*.attn.proj.*", f"{layer}.attention.o_proj.*"),
    ]


def _with_class_position(state: StateDict, known: int | None = None) -> StateDict:
    """Of DeiT-III, and of ViTDet, which has no class token."""
    return add_class_position(state, _POSITIONS, known)


# ViT, DeiT, ViTMAE
HF_VIT = Layout(
    "Hugging Face ViT",
    (
        "embeddings.patch_embeddings.projection.weight",
        "encoder.layer.*.layernorm_before.weight",
        "layers.*.layernorm_before.weight",
    ),
    names={
        **_EMBEDDINGS,
        "blocks.*.norm1.*": "encoder.layer.*.layernorm_before.*",
        **_ATTENTION,
        "blocks.*.norm2.*": "encoder.layer.*.layernorm_after.*",
        "blocks.*.mlp.fc1.*": "encoder.layer.*.intermediate.dense.*",
        "blocks.*.mlp.fc2.*": "encoder.layer.*.output.dense.*",
        "norm.*": "layernorm.*",
    },
    aliases=[
        *_attention_in_memory("layers.*"),
        *_attention_in_memory("encoder.layer.*"),
        ("blocks.*.norm1.*", "layers.*.layernorm_before.*"),
        ("blocks.*.norm2.*", "layers.*.layernorm_after.*"),
        ("blocks.*.mlp.fc1.*", "layers.*.mlp.fc1.*"),
        ("blocks.*.mlp.fc2.*", "layers.*.mlp.fc2.*"),
        ("blocks.*.mlp.fc1.*", "encoder.layer.*.mlp.fc1.*"),
        ("blocks.*.mlp.fc2.*", "encoder.layer.*.mlp.fc2.*"),
    ],
    ignored=["pooler.dense.*", "embeddings.mask_token"],
    decode=lambda state: without_distillation(state, "embeddings.distillation_token", _POSITIONS),
    encode=_with_class_position,
    gated=False,
    rotary=False,
)

# DINOv2 with and without registers; for writing, DeiT-III, too
HF_DINOV2 = Layout(
    "Hugging Face DINOv2",
    ("embeddings.patch_embeddings.projection.weight", "encoder.layer.*.norm1.weight"),
    names={
        **_EMBEDDINGS,
        "reg_token": "embeddings.register_tokens",
        "blocks.*.norm1.*": "encoder.layer.*.norm1.*",
        **_ATTENTION,
        "blocks.*.ls1.gamma": "encoder.layer.*.layer_scale1.lambda1",
        "blocks.*.norm2.*": "encoder.layer.*.norm2.*",
        "blocks.*.mlp.fc1.*": "encoder.layer.*.mlp.fc1.*",
        "blocks.*.mlp.fc2.*": "encoder.layer.*.mlp.fc2.*",
        "blocks.*.ls2.gamma": "encoder.layer.*.layer_scale2.lambda1",
        "norm.*": "layernorm.*",
    },
    aliases=_attention_in_memory("encoder.layer.*"),
    ignored=["embeddings.mask_token"],
    encode=_with_class_position,
    gated=False,
    rotary=False,
)
HF_DINOV2_GATED = replace(
    HF_DINOV2,
    name="Hugging Face DINOv2, gated MLP",
    names={
        **HF_DINOV2.names,
        "blocks.*.mlp.fc1.*": "encoder.layer.*.mlp.weights_in.*",
        "blocks.*.mlp.fc2.*": "encoder.layer.*.mlp.weights_out.*",
    },
    aliases=[
        *HF_DINOV2.aliases,
        (
            "blocks.*.mlp.fc1.*",
            ("encoder.layer.*.mlp.gate_proj.*", "encoder.layer.*.mlp.up_proj.*"),
        ),
        ("blocks.*.mlp.fc2.*", "encoder.layer.*.mlp.down_proj.*"),
    ],
    gated=True,
)

HF_DINOV3 = Layout(
    "Hugging Face DINOv3",
    ("embeddings.patch_embeddings.weight", "layer.*.norm1.weight"),
    names={
        "cls_token": "embeddings.cls_token",
        "reg_token": "embeddings.register_tokens",
        "patch_embed.proj.*": "embeddings.patch_embeddings.*",
        "blocks.*.norm1.*": "layer.*.norm1.*",
        "blocks.*.attn.qkv.weight": tuple(f"layer.*.attention.{p}_proj.weight" for p in "qkv"),
        "blocks.*.attn.qkv.bias": (
            "layer.*.attention.q_proj.bias",
            "layer.*.attention.k_proj.bias?",
            "layer.*.attention.v_proj.bias",
        ),
        "blocks.*.attn.proj.*": "layer.*.attention.o_proj.*",
        "blocks.*.ls1.gamma": "layer.*.layer_scale1.lambda1",
        "blocks.*.norm2.*": "layer.*.norm2.*",
        "blocks.*.mlp.fc1.*": "layer.*.mlp.up_proj.*",
        "blocks.*.mlp.fc2.*": "layer.*.mlp.down_proj.*",
        "blocks.*.ls2.gamma": "layer.*.layer_scale2.lambda1",
        "norm.*": "norm.*",
    },
    ignored=["embeddings.mask_token"],
    decode=lambda state: {name.removeprefix("model."): t for name, t in state.items()},
    gated=False,
    rotary=True,
)
HF_DINOV3_GATED = replace(
    HF_DINOV3,
    name="Hugging Face DINOv3, gated MLP",
    names={
        **HF_DINOV3.names,
        "blocks.*.mlp.fc1.*": ("layer.*.mlp.gate_proj.*", "layer.*.mlp.up_proj.*"),
    },
    gated=True,
)


def _clip_shapes(state: StateDict, *_) -> StateDict:
    """The class token and positions without their dimensions of one."""
    state["embeddings.class_embedding"] = state["embeddings.class_embedding"].flatten()
    pos = state["embeddings.position_embedding.weight"]
    state["embeddings.position_embedding.weight"] = pos.flatten(0, 1)
    return state


HF_CLIP = Layout(
    "Hugging Face CLIP",
    ("embeddings.patch_embedding.weight", "encoder.layers.*.layer_norm1.weight"),
    names={
        "cls_token": "embeddings.class_embedding",
        "pos_embed": "embeddings.position_embedding.weight",
        "patch_embed.proj.weight": "embeddings.patch_embedding.weight",
        "norm_pre.*": "pre_layrnorm.*",  # so spelt there
        "blocks.*.norm1.*": "encoder.layers.*.layer_norm1.*",
        "blocks.*.attn.qkv.*": tuple(f"encoder.layers.*.self_attn.{p}_proj.*" for p in "qkv"),
        "blocks.*.attn.proj.*": "encoder.layers.*.self_attn.out_proj.*",
        "blocks.*.norm2.*": "encoder.layers.*.layer_norm2.*",
        "blocks.*.mlp.fc1.*": "encoder.layers.*.mlp.fc1.*",
        "blocks.*.mlp.fc2.*": "encoder.layers.*.mlp.fc2.*",
        "norm.*": "post_layernorm.*",
    },
    aliases=[("patch_embed.proj.bias", "embeddings.patch_embedding.bias")],  # SigLIP
    ignored=["embeddings.position_ids"],
    encode=_clip_shapes,
    gated=False,
    rotary=False,
)

HF_VITDET = Layout(
    "Hugging Face VitDet",
    ("embeddings.projection.weight", "encoder.layer.*.norm1.weight"),
    names={
        "pos_embed": _POSITIONS,
        "patch_embed.proj.*": "embeddings.projection.*",
        "blocks.*.norm1.*": "encoder.layer.*.norm1.*",
        "blocks.*.attn.qkv.*": "encoder.layer.*.attention.qkv.*",
        "blocks.*.attn.proj.*": "encoder.layer.*.attention.proj.*",
        "blocks.*.attn.rel_pos_h": "encoder.layer.*.attention.rel_pos_h",
        "blocks.*.attn.rel_pos_w": "encoder.layer.*.attention.rel_pos_w",
        "blocks.*.norm2.*": "encoder.layer.*.norm2.*",
        "blocks.*.mlp.fc1.*": "encoder.layer.*.mlp.fc1.*",
        "blocks.*.mlp.fc2.*": "encoder.layer.*.mlp.fc2.*",
    },
    encode=_with_class_position,
    gated=False,
    rotary=False,
)
