"""torchvision: the arguments of its classes."""

from __future__ import annotations

from typing import Any

import torch

from ...arguments import to_pair
from ...backbones.base import Backbone
from ...backbones.mvit_arch import MViTArch
from ...backbones.swin_arch import SwinArch
from ...layers.pooling_attention import Pooling
from ...layers.relative_bias import log_spaced_offsets, relative_index
from ..layouts import StateDict
from .common import (
    arguments,
    check_oblong_maps,
    check_plain,
    check_windows,
    mlp_width,
    refuse,
    square,
)


def torchvision_code(encoder: Backbone, path: str) -> str:
    """Code that makes ``model``, loaded from ``path``, and its ``features`` of ``images``."""
    kind = type(encoder).__name__
    if kind == "VisionTransformer":
        lines = _vit(encoder)
    elif kind == "SwinTransformer":
        lines = _swin(encoder)
    else:
        lines = _mvit(encoder)
    read = f"torch.load({path!r}, weights_only=True)"
    imports = ["import torch"]
    if path.endswith(".safetensors"):
        read, imports = (
            f"load_file({path!r})",
            [*imports, "from safetensors.torch import load_file"],
        )
    return "\n".join(
        [
            *imports,
            *lines,
            f"model.load_state_dict({read})",
            f"features = model.eval()(images{'[:, :, None]' if kind == 'MViT' else ''})",
        ]
    )


def _vit(encoder: Backbone) -> list[str]:
    arch = encoder.arch
    check_plain("torchvision", encoder)
    plain = arch.position in ("learned", "sincos2d", "sinusoid1d") and arch.cls_token
    plain = (
        plain
        and arch.mlp == "gelu"
        and arch.qkv_bias
        and arch.norm_eps == 1e-6
        and arch.pos_embed_cls
    )
    if not plain or not arch.final_norm or arch.in_channels != 3:
        raise refuse("torchvision", encoder, "its ViT is the original one alone")
    settings = dict(
        image_size=square(arch.img_size, "img_size"),
        patch_size=square(arch.patch_size, "patch_size"),
        num_layers=arch.depth,
        num_heads=arch.heads,
        hidden_dim=arch.embed_dims,
        mlp_dim=mlp_width(encoder),
    )
    if not isinstance(settings["image_size"], int) or not isinstance(settings["patch_size"], int):
        raise refuse("torchvision", encoder, "its images and patches are squares")
    return [
        "from torchvision.models.vision_transformer import VisionTransformer",
        "",
        f"model = VisionTransformer({arguments(settings)})",
        "model.heads = torch.nn.Identity()",
    ]


def _swin(encoder: Backbone) -> list[str]:
    arch = encoder.arch
    check_windows("torchvision", encoder)
    check_oblong_maps("torchvision", encoder)
    if arch.pad_small_map and any(min(g) <= w for g, w in zip(arch.grids, arch.windows)):
        raise refuse("torchvision", encoder, "windows as large as the map are never shifted there")
    if not arch.qkv_bias:
        raise refuse("torchvision", encoder, "its queries, keys and values have no biases")
    if len(set(arch.windows)) > 1 or any(arch.pretrained_windows) or arch.in_channels != 3:
        raise refuse("torchvision", encoder, "it has one window in all stages, and RGB images")
    words = arguments(swin_settings(arch))
    if arch.version == 2:
        words += ", block=swin.SwinTransformerBlockV2, downsample_layer=swin.PatchMergingV2"
    return [
        "from torchvision.models import swin_transformer as swin",
        "",
        f"model = swin.SwinTransformer({words})",
        "model.head = torch.nn.Identity()",
    ]


def swin_settings(arch: SwinArch) -> dict[str, Any]:
    """Of its SwinTransformer, apart from the classes of version 2; it has one window in all
    stages."""
    return dict(
        patch_size=[arch.patch_size] * 2,
        embed_dim=arch.embed_dims,
        depths=list(arch.depths),
        num_heads=list(arch.heads),
        window_size=[arch.windows[0]] * 2,
        mlp_ratio=arch.mlp_ratio,
    )


def _mvit(encoder: Backbone) -> list[str]:
    """A model of videos of one frame."""
    arch = encoder.arch
    version1 = not (arch.pool_every_q or arch.rel_pos or arch.residual_pooling)
    version1 = version1 and not arch.dim_mul_in_attention and arch.qkv_bias and arch.cls_token
    if not version1 or arch.pool_mode != "conv" or arch.pos_embed != "separate":
        raise refuse(
            "torchvision", encoder, "it is no MViT of version 1, the only one of one frame"
        )
    if arch.norm_eps != 1e-6:
        raise refuse("torchvision", encoder, f"its norms' epsilon is {arch.norm_eps}, not 1e-6")
    if arch.mlp_ratio != 4 or arch.in_channels != 3:
        raise refuse("torchvision", encoder, "its MLPs are four times as wide, its images RGB")

    blocks, settings = mvit_settings(arch)
    return [
        "from torchvision.models.video.mvit import MSBlockConfig, MViT",
        "",
        "blocks = [",
        *(f"    MSBlockConfig({arguments(block)})," for block in blocks),
        "]",
        f"model = MViT(block_setting=blocks, {arguments(settings)})",
        "model.head = torch.nn.Identity()",
    ]


def mvit_settings(arch: MViTArch) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Of its MSBlockConfigs, and of its MViT apart from them."""

    def spatial(pooling: Pooling | None, of: str) -> list[int]:
        return [1, getattr(pooling, of), getattr(pooling, of)] if pooling else []

    blocks = [
        dict(
            num_heads=plan.num_heads,
            input_channels=plan.dim,
            output_channels=plan.out_dim,
            kernel_q=spatial(plan.pool_q, "kernel"),
            kernel_kv=spatial(plan.pool_kv, "kernel"),
            stride_q=spatial(plan.pool_q, "stride"),
            stride_kv=spatial(plan.pool_kv, "stride"),
        )
        for plan in arch.plan()
    ]
    kernel, stride = arch.patch_kernel, arch.patch_stride
    settings = dict(
        spatial_size=to_pair(arch.img_size, "img_size"),
        temporal_size=1,
        residual_pool=False,
        residual_with_cls_embed=False,
        rel_pos_embed=False,
        proj_after_attn=False,
        patch_embed_kernel=(1, kernel, kernel),
        patch_embed_stride=(1, stride, stride),
        patch_embed_padding=(0, kernel // 2, kernel // 2),
    )
    return blocks, settings


def constants(encoder: Backbone) -> StateDict:
    """What its Swin v2 computes from the window and yet expects in a file, by its names."""
    arch = getattr(encoder, "arch", None)
    if type(encoder).__name__ != "SwinTransformer" or arch.version != 2:
        return {}
    window = arch.windows[0]
    side = 2 * window - 1
    cpu = torch.device("cpu")
    table = log_spaced_offsets(window, 0, torch.zeros(())).reshape(1, side, side, 2)
    index = relative_index(window, window, cpu)
    return {
        f"features.{2 * stage + 1}.{block}.attn.{name}": tensor
        for stage, depth in enumerate(arch.depths)
        for block in range(depth)
        for name, tensor in (("relative_coords_table", table), ("relative_position_index", index))
    }
