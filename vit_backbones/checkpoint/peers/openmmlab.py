"""mmpretrain and mmdet: the config of their own backbones."""

from __future__ import annotations

from typing import Any

from ...backbones.base import Backbone
from ...backbones.mvit_arch import MViTArch
from ...backbones.swin_arch import SwinArch
from .common import (
    APPROXIMATIONS,
    arguments,
    check_mvit,
    check_one_window,
    check_sam,
    check_windows,
    is_plain,
    mlp_width,
    refuse,
    square,
    window_blocks,
)


def mmpretrain_code(encoder: Backbone, path: str) -> str:
    """Code that makes ``model``, loaded from ``path``, and its ``features`` of ``images``."""
    kind = type(encoder).__name__
    build = {"VisionTransformer": _vit, "SwinTransformer": _swin, "MViT": _mvit}[kind]
    return _code("mmpretrain", build(encoder), path)


def mmdet_code(encoder: Backbone, path: str) -> str:
    """The same in mmdet, whose own Swin reads names that begin with 'backbone.'."""
    arch = encoder.arch
    if type(encoder).__name__ != "SwinTransformer" or arch.version != 1:
        raise refuse("mmdet", encoder, "its only transformer encoder is Swin, version 1")
    check_one_window("mmdet", encoder)
    if arch.use_abs_pos_embed:
        raise refuse("mmdet", encoder, "its Swin does not load absolute positions")
    if arch.mlp_ratio != int(arch.mlp_ratio):
        raise refuse("mmdet", encoder, f"mlp_ratio={arch.mlp_ratio} is no whole number")
    settings = dict(
        type="SwinTransformer",
        **mmdet_swin_settings(arch),
        out_indices=tuple(encoder.out_indices),
    )
    return _code("mmdet", settings, path)


def mmdet_swin_settings(arch: SwinArch) -> dict[str, Any]:
    """Of mmdet's SwinTransformer; it has one window in all stages, and MLPs a whole number of times
    as wide."""
    return dict(
        embed_dims=arch.embed_dims,
        depths=tuple(arch.depths),
        num_heads=arch.heads,
        strides=(arch.patch_size, *(2,) * (len(arch.depths) - 1)),
        patch_size=arch.patch_size,
        window_size=arch.windows[0],
        mlp_ratio=int(arch.mlp_ratio),
        qkv_bias=arch.qkv_bias,
        in_channels=arch.in_channels,
    )


def _code(library: str, settings: dict[str, Any], path: str) -> str:
    settings = {**settings, "type": f"{library}.{settings['type']}"}
    init_cfg = dict(type="Pretrained", checkpoint=path)
    if library == "mmpretrain":
        init_cfg["prefix"] = "backbone."
    return "\n".join(
        [
            "import vit_backbones  # mends what keeps the library from today's PyTorch",
            f"import {library}.models",
            f"from {library}.registry import MODELS",
            "from mmengine.config import ConfigDict",
            "",
            f"backbone = dict({arguments(settings)}, init_cfg={_dict(init_cfg)})",
            "model = MODELS.build(ConfigDict(backbone))",
            "model.init_weights()",
            "model.eval()",
            "features = model(images)[-1]",
        ]
    )


def _dict(settings: dict[str, Any]) -> str:
    return f"dict({arguments(settings)})"


def _vit(encoder: Backbone) -> dict[str, Any]:
    arch = encoder.arch
    shape = dict(
        embed_dims=arch.embed_dims,
        num_layers=arch.depth,
        num_heads=arch.heads,
        feedforward_channels=mlp_width(encoder),
    )
    settings: dict[str, Any] = dict(
        type="VisionTransformer",
        arch=shape,
        img_size=square(arch.img_size, "img_size"),
        patch_size=square(arch.patch_size, "patch_size"),
    )
    if arch.in_channels != 3:
        settings["in_channels"] = arch.in_channels
    if arch.norm_eps != 1e-6:
        settings["norm_cfg"] = dict(type="LN", eps=arch.norm_eps)
    if not arch.qkv_bias:
        settings["qkv_bias"] = False
    if not is_plain(arch):
        return _sam(encoder, settings)
    if encoder.pos_embed is None or arch.num_registers or "rope2d" in arch.positions:
        raise refuse("mmpretrain", encoder, "it has no absolute positions, or registers")
    if arch.mlp in APPROXIMATIONS:
        raise refuse("mmpretrain", encoder, "its MLPs have an approximation of GELU")
    settings["out_type"] = "avg_featmap" if arch.pool_norm else "raw"
    if not arch.cls_token:
        settings["with_cls_token"] = False
    if not arch.final_norm:
        settings["final_norm"] = False
    if arch.pre_norm:
        settings["pre_norm"] = True
    if arch.layer_scale_init is not None:
        settings["layer_scale_init_value"] = arch.layer_scale_init
    if arch.mlp == "swiglu":
        settings["layer_cfgs"] = dict(ffn_type="swiglu_fused")
        shape["feedforward_channels"] = _swiglu_channels(encoder)
    return settings


def _swiglu_channels(encoder: Backbone) -> int:
    """mmpretrain takes two thirds of what it is given, rounded up to a multiple of eight."""
    width = mlp_width(encoder)
    given = width * 3 // 2
    if (int(given * 2 / 3) + 7) // 8 * 8 != width:
        raise refuse("mmpretrain", encoder, f"its gated MLPs are {width} wide, no multiple of 8")
    return given


def _sam(encoder: Backbone, settings: dict[str, Any]) -> dict[str, Any]:
    arch = encoder.arch
    side, windowed = window_blocks("mmpretrain", encoder)
    check_sam("mmpretrain", encoder)
    whole = [i for i in range(arch.depth) if i not in windowed]
    settings["arch"]["global_attn_indexes"] = whole
    return {
        **settings,
        "type": "ViTSAM",
        "out_channels": 0,
        "window_size": side,
        "use_rel_pos": True,
    }


def _swin(encoder: Backbone) -> dict[str, Any]:
    arch = encoder.arch
    if not arch.qkv_bias:
        raise refuse("mmpretrain", encoder, "its queries, keys and values have no biases")
    if arch.version == 1:
        check_one_window("mmpretrain", encoder)
        check_windows("mmpretrain", encoder)
    settings = dict(
        type="SwinTransformer" if arch.version == 1 else "SwinTransformerV2",
        **mmpretrain_swin_settings(arch),
        img_size=square(arch.img_size, "img_size"),
        out_indices=tuple(encoder.out_indices),
    )
    if arch.version == 2 and not arch.pad_small_map:  # its windows don't shrink by themselves
        settings["window_size"] = [min(w, *grid) for w, grid in zip(arch.windows, arch.grids)]
    return settings


def mmpretrain_swin_settings(arch: SwinArch) -> dict[str, Any]:
    """Of mmpretrain's Swin or Swin v2, apart from the size of images and from which outputs it
    gives; version 1 has one window in all stages."""
    shape = dict(embed_dims=arch.embed_dims, depths=list(arch.depths), num_heads=list(arch.heads))
    settings: dict[str, Any] = dict(
        arch=shape,
        patch_size=arch.patch_size,
        in_channels=arch.in_channels,
        use_abs_pos_embed=arch.use_abs_pos_embed,
        pad_small_map=arch.pad_small_map,
        window_size=arch.windows[0],
    )
    if arch.mlp_ratio != 4:
        settings["stage_cfgs"] = dict(block_cfgs=dict(ffn_ratio=arch.mlp_ratio))
    if arch.version == 2:
        shape["extra_norm_every_n_blocks"] = 0
        settings["window_size"] = list(arch.windows)
        settings["pretrained_window_sizes"] = list(arch.pretrained_windows)
    return settings


def _mvit(encoder: Backbone) -> dict[str, Any]:
    arch = encoder.arch
    if not arch.pool_every_q or arch.window_size is not None or arch.pool_mode != "conv":
        raise refuse("mmpretrain", encoder, "it is no MViTv2 with global attention")
    if arch.cls_token:
        raise refuse("mmpretrain", encoder, "its MViT has no class token")
    if arch.pos_embed != "none":
        raise refuse("mmpretrain", encoder, "its absolute positions have no place there")
    if not arch.rel_pos:
        raise refuse("mmpretrain", encoder, "it has no relative positions")
    check_mvit("mmpretrain", encoder)
    if len(encoder.out_indices) > 1:
        raise refuse("mmpretrain", encoder, "its MViT goes on with the norms of earlier outputs")
    return dict(
        type="MViT",
        **mvit_settings(arch),
        img_size=square(arch.img_size, "img_size"),
        out_scales=[*encoder.out_indices],
    )


def mvit_settings(arch: MViTArch) -> dict[str, Any]:
    """Of mmpretrain's MViT, apart from the size of images and from which outputs it gives."""
    kernel = arch.patch_kernel
    return dict(
        arch=dict(
            embed_dims=arch.embed_dims,
            num_layers=sum(arch.depths),
            num_heads=arch.num_heads,
            downscale_indices=[end + 1 for end in arch.stage_ends[:-1]],
        ),
        in_channels=arch.in_channels,
        mlp_ratio=arch.mlp_ratio,
        qkv_bias=arch.qkv_bias,
        dim_mul_in_attention=arch.dim_mul_in_attention,
        rel_pos_spatial=arch.rel_pos,
        residual_pooling=arch.residual_pooling,
        pool_kernel=(arch.pool_kernel,) * 2,
        adaptive_kv_stride=arch.kv_stride,
        norm_cfg=dict(type="LN", eps=arch.norm_eps),
        patch_cfg=dict(kernel_size=kernel, stride=arch.patch_stride, padding=kernel // 2),
    )
