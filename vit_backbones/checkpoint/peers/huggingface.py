"""transformers: config.json."""

from __future__ import annotations

from typing import Any

from ...backbones.base import Backbone
from ...backbones.swin_arch import SwinArch
from ...layers.mlp import swiglu_hidden_dim
from .common import (
    check_halves,
    check_oblong_maps,
    check_one_window,
    check_plain,
    check_windows,
    mlp_width,
    refuse,
    square,
    window_blocks,
)

Config = dict[str, Any]


def huggingface_code(encoder: Backbone, path: str) -> str:
    """Code that makes ``model``, loaded from the folder ``path``, and its ``features``."""
    clip = huggingface_config(encoder)["model_type"] == "clip_vision_model"
    # CLIP's final norm serves the class token alone there
    output = "pooler_output" if clip else "last_hidden_state"
    return "\n".join(
        [
            "from transformers import AutoModel",
            "",
            f"model = AutoModel.from_pretrained({path!r}).eval()",
            f"features = model(images).{output}",
        ]
    )


# transformers' names of what isn't the plain GELU
ACTIVATIONS = {"gelu_tanh": "gelu_pytorch_tanh", "quick_gelu": "quick_gelu"}


def huggingface_config(encoder: Backbone) -> Config:
    """What config.json holds.

    Raises:
        UserError: transformers has no such model.
    """
    kind = type(encoder).__name__
    if kind == "MViT":
        raise refuse("huggingface", encoder, "transformers has no MViT")
    return _vit(encoder) if kind == "VisionTransformer" else _swin(encoder)


def _vit(encoder: Backbone) -> Config:
    arch = encoder.arch
    shared: Config = dict(
        hidden_size=arch.embed_dims,
        num_hidden_layers=arch.depth,
        num_attention_heads=arch.heads,
        hidden_act=ACTIVATIONS.get(arch.mlp, "gelu"),
        layer_norm_eps=arch.norm_eps,
        image_size=_side(arch.img_size),
        patch_size=_side(arch.patch_size),
        num_channels=arch.in_channels,
    )
    if "decomposed" in arch.positions:
        return _vitdet(encoder, shared)
    check_plain("huggingface", encoder)
    if not arch.cls_token:
        raise refuse("huggingface", encoder, "it has no class token")
    if not arch.final_norm:
        raise refuse("huggingface", encoder, "it has no norm after the last block")
    if arch.qk_norm:
        raise refuse("huggingface", encoder, "its queries and keys are normed")
    if "rope2d" in arch.positions:
        return _dinov3(encoder, shared)
    if encoder.pos_embed is None:
        raise refuse("huggingface", encoder, "it has no positions")
    if arch.pre_norm:
        return _clip(encoder, shared)
    if arch.num_registers or arch.layer_scale_init is not None or arch.mlp == "swiglu":
        return _dinov2(encoder, shared)
    return dict(
        model_type="vit",
        architectures=["ViTModel"],
        **shared,
        intermediate_size=mlp_width(encoder),
        qkv_bias=arch.qkv_bias,
    )


def _clip(encoder: Backbone, shared: Config) -> Config:
    arch = encoder.arch
    if arch.num_registers or arch.layer_scale_init is not None or arch.mlp == "swiglu":
        raise refuse("huggingface", encoder, "it is CLIP's, with more")
    if not arch.qkv_bias or not arch.pos_embed_cls:
        raise refuse("huggingface", encoder, "it is CLIP's without all biases or positions")
    return dict(
        model_type="clip_vision_model",
        architectures=["CLIPVisionModel"],
        **shared,
        intermediate_size=mlp_width(encoder),
    )


def _dinov2(encoder: Backbone, shared: Config) -> Config:
    arch = encoder.arch
    if arch.layer_scale_init is None:
        raise refuse("huggingface", encoder, "it is DINOv2's without LayerScale")
    ratio = mlp_width(encoder) / arch.embed_dims
    if arch.mlp == "swiglu":
        ratio = arch.mlp_ratio
        if swiglu_hidden_dim(arch.embed_dims, ratio) != mlp_width(encoder):
            raise refuse("huggingface", encoder, f"its gated MLPs are {mlp_width(encoder)} wide")
    if ratio != int(ratio):
        raise refuse("huggingface", encoder, f"mlp_ratio {ratio} is no whole number")
    if arch.grid[0] != arch.grid[1]:
        raise refuse("huggingface", encoder, "its DINOv2 is for square images")
    named = "Dinov2WithRegisters" if arch.num_registers else "Dinov2"
    config = dict(
        model_type="dinov2_with_registers" if arch.num_registers else "dinov2",
        architectures=[f"{named}Model"],
        **shared,
        mlp_ratio=int(ratio),
        qkv_bias=arch.qkv_bias,
        layerscale_value=arch.layer_scale_init,
        use_swiglu_ffn=arch.mlp == "swiglu",
    )
    return config | (dict(num_register_tokens=arch.num_registers) if arch.num_registers else {})


def _dinov3(encoder: Backbone, shared: Config) -> Config:
    arch = encoder.arch
    if encoder.pos_embed is not None or arch.pre_norm or arch.layer_scale_init is None:
        raise refuse("huggingface", encoder, "with rotary position it is DINOv3 or nothing there")
    gated = arch.mlp == "swiglu"
    return dict(
        model_type="dinov3_vit",
        architectures=["DINOv3ViTModel"],
        **{**shared, "hidden_act": "silu" if gated else shared["hidden_act"]},
        intermediate_size=mlp_width(encoder),
        rope_theta=arch.rope_base,
        pos_embed_rescale=arch.rope_rescale,
        query_bias=arch.qkv_bias,
        key_bias=arch.qkv_bias and arch.key_bias,
        value_bias=arch.qkv_bias,
        layerscale_value=arch.layer_scale_init,
        use_gated_mlp=gated,
        num_register_tokens=arch.num_registers,
    )


def _vitdet(encoder: Backbone, shared: Config) -> Config:
    arch = encoder.arch
    side, windowed = window_blocks("huggingface", encoder)
    ratio = mlp_width(encoder) / arch.embed_dims
    if arch.final_norm or arch.pre_norm or arch.layer_scale_init is not None or arch.cls_token:
        raise refuse("huggingface", encoder, "besides windows it has what ViTDet's has not")
    if ratio != int(ratio) or arch.mlp == "swiglu":
        raise refuse("huggingface", encoder, f"its MLPs are {mlp_width(encoder)} wide")
    pretrain = arch.img_size if arch.pretrain_img_size is None else arch.pretrain_img_size
    return dict(
        model_type="vitdet",
        architectures=["VitDetModel"],
        **shared,
        mlp_ratio=int(ratio),
        qkv_bias=arch.qkv_bias,
        pretrain_image_size=_side(pretrain),
        window_block_indices=windowed,
        window_size=side,
        use_absolute_position_embeddings=encoder.pos_embed is not None,
        use_relative_position_embeddings=True,
    )


def _swin(encoder: Backbone) -> Config:
    arch = encoder.arch
    if arch.version == 1:
        check_windows("huggingface", encoder)
    else:
        check_oblong_maps("huggingface", encoder)
        check_halves("huggingface", encoder)
        if arch.use_abs_pos_embed:
            raise refuse("huggingface", encoder, "its Swin v2 has a position more")
    check_one_window("huggingface", encoder)
    if arch.pad_small_map:
        raise refuse("huggingface", encoder, "it pads small maps (pad_small_map=True)")
    named, kind = ("Swin", "swin") if arch.version == 1 else ("Swinv2", "swinv2")
    config = dict(
        model_type=kind,
        architectures=[f"{named}Model"],
        image_size=_side(arch.img_size),
        **swin_settings(arch),
    )
    if len(encoder.out_indices) > 1:  # for SwinBackbone
        config["out_indices"] = [i + 1 for i in encoder.out_indices]
    return config


def swin_settings(arch: SwinArch) -> Config:
    """Of its SwinConfig or Swinv2Config, apart from the size of images and from which outputs it
    gives; it has one window in all stages."""
    config: Config = dict(
        patch_size=arch.patch_size,
        num_channels=arch.in_channels,
        embed_dim=arch.embed_dims,
        depths=list(arch.depths),
        num_heads=list(arch.heads),
        window_size=arch.windows[0],
        mlp_ratio=arch.mlp_ratio,
        qkv_bias=arch.qkv_bias,
        use_absolute_embeddings=arch.use_abs_pos_embed,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
    )
    if arch.version == 2:
        config["pretrained_window_sizes"] = list(arch.pretrained_windows)
    return config


def _side(value: Any) -> int | list[int]:
    side = square(value, "size")
    return side if isinstance(side, int) else list(side)
