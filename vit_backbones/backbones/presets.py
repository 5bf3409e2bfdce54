"""The table of named models: name -> type of encoder, its settings, published size, source."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UserError, nearest

if TYPE_CHECKING:
    from .base import Backbone


@dataclass(frozen=True)
class Preset:
    """One named model.

    Attributes:
        type: Class name in ``vit_backbones``.
        settings: What differs from the defaults of the class.
        params: Trainable and fixed parameters of the encoder without a head, in millions.
        source: Paper and, where it adds something, the published checkpoints that it fits.
    """

    type: str
    settings: Mapping[str, Any]
    params: float
    source: str


PRESETS: dict[str, Preset] = {}


def get_preset(name: str) -> Preset:
    """The table's row.

    Raises:
        UserError: No preset has this name; the message names the nearest.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise UserError(
            f"there is no preset '{name}'{nearest(name, PRESETS) or '.'} "
            f"vit_backbones.list_backbones() names all {len(PRESETS)}"
        )
    return PRESETS[name]


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of the presets that match a shell pattern, such as ``'dino*'``, sorted."""
    return sorted(fnmatch.filter(PRESETS, pattern))


def build_backbone(name: str, **settings: Any) -> Backbone:
    """Build the encoder ``name`` with random weights.

    Args:
        name: A preset, one of :func:`list_backbones`.
        settings: Anything that the encoder's class takes; wins over the preset.

    Raises:
        UserError: Unknown preset or setting.
    """
    from ..registry import MODELS

    preset = get_preset(name)
    if "arch" in settings:
        raise UserError("the preset is the first argument; give single settings in place of arch")
    return MODELS.get(preset.type)(arch=name, **settings)


def _add(type: str, source: str, models: Mapping[str, tuple[float, dict]], **shared: Any) -> None:
    """Rows of one family: name -> (params in millions, what differs within the family)."""
    for name, (params, settings) in models.items():
        PRESETS[name] = Preset(type, {**shared, **settings}, params, source)


# Widths and depths of the plain ViT (Dosovitskiy et al. 2021, table 1; Ti and S: Touvron et al.
# 2021, table 1)
TI = dict(embed_dims=192, depth=12)
S = dict(embed_dims=384, depth=12)
B = dict(embed_dims=768, depth=12)
L = dict(embed_dims=1024, depth=24)
H = dict(embed_dims=1280, depth=32, num_heads=16)

# Google's code zooms position embeddings linearly, corners on corners. Its GELU is the
# approximation by tanh (mlp="gelu_tanh"); these have the exact one, as timm, transformers and
# mmpretrain have for its weights, and differ from its outputs by about 1e-4.
_add(
    "VisionTransformer",
    "ViT, Dosovitskiy et al. 2021 (arXiv:2010.11929); AugReg, Steiner et al. 2021 (2106.10270)",
    {
        "vit_ti16": (5.52, TI),
        "vit_s16": (21.67, S),
        "vit_s32": (22.49, {**S, "patch_size": 32}),
        "vit_b16": (85.80, B),
        "vit_b32": (87.46, {**B, "patch_size": 32}),
        "vit_l16": (303.30, L),
        "vit_l32": (305.51, {**L, "patch_size": 32}),
        "vit_h14": (630.76, {**H, "patch_size": 14}),
    },
    pos_interpolation=dict(mode="bilinear", align_corners=True),
)
_add(
    "VisionTransformer",
    "DeiT, Touvron et al. 2021 (arXiv:2012.12877)",
    {"deit_ti16": (5.52, TI), "deit_s16": (21.67, S), "deit_b16": (85.80, B)},
)
_add(
    "VisionTransformer",
    "DeiT III, Touvron et al. 2022 (arXiv:2204.07118)",
    {
        "deit3_s16": (21.67, S),
        "deit3_m16": (38.34, dict(embed_dims=512, depth=12)),
        "deit3_b16": (85.82, B),
        "deit3_l16": (303.35, L),
        "deit3_h14": (630.85, {**H, "patch_size": 14}),
    },
    pos_embed_cls=False,
    layer_scale_init=1e-4,
    drop_path_uniform=True,
)
# Positions are fixed, as in pre-training; position="learned" trains them, as the authors do in
# fine-tuning (models_vit.py).
_add(
    "VisionTransformer",
    "MAE, He et al. 2022 (arXiv:2111.06377)",
    {"mae_b16": (85.80, B), "mae_l16": (303.30, L), "mae_h14": (630.76, {**H, "patch_size": 14})},
    position="sincos2d",
)
_add(
    "VisionTransformer",
    "DINO, Caron et al. 2021 (arXiv:2104.14294)",
    {
        "dino_s16": (21.67, S),
        "dino_s8": (21.67, {**S, "patch_size": 8}),
        "dino_b16": (85.80, B),
        "dino_b8": (85.81, {**B, "patch_size": 8}),
    },
    pos_interpolation=dict(offset=0.1),
)

# DINOv2's published configs: trained up to 518 pixels; those with registers resize antialiased,
# without offset.
GIANT = dict(embed_dims=1536, depth=40, mlp="swiglu")
DINOV2 = {"s": (22.06, S), "b": (86.58, B), "l": (304.37, L), "g": (1136.48, GIANT)}
DINOV2_SHARED = dict(patch_size=14, img_size=518, layer_scale_init=1.0, drop_path_uniform=True)
_add(
    "VisionTransformer",
    "DINOv2, Oquab et al. 2023 (arXiv:2304.07193)",
    {f"dinov2_{size}14": row for size, row in DINOV2.items()},
    pos_interpolation=dict(offset=0.1),
    **DINOV2_SHARED,
)
_add(
    "VisionTransformer",
    "DINOv2 with registers, Darcet et al. 2024 (arXiv:2309.16588)",
    {f"dinov2_{size}14_reg": row for size, row in DINOV2.items()},
    num_registers=4,
    pos_interpolation=dict(antialias=True),
    **DINOV2_SHARED,
)
_add(
    "VisionTransformer",
    "DINOv3, Siméoni et al. 2025 (arXiv:2508.10104)",
    {
        "dinov3_s16": (21.60, S),
        "dinov3_splus16": (28.70, {**S, "mlp": "swiglu", "mlp_ratio": 6.0}),
        "dinov3_b16": (85.67, B),
        "dinov3_l16": (303.15, L),
        "dinov3_hplus16": (
            840.63,
            dict(embed_dims=1280, depth=32, num_heads=20, mlp="swiglu", mlp_ratio=6.0),
        ),
    },
    position="rope2d",
    rope_rescale=2.0,
    num_registers=4,
    key_bias=False,
    layer_scale_init=1e-5,
    drop_path_uniform=True,
    norm_eps=1e-5,
)
_add(
    "VisionTransformer",
    "CLIP's image tower without its output projection, Radford et al. 2021 (arXiv:2103.00020)",
    {
        "clip_b32": (87.46, {**B, "patch_size": 32}),
        "clip_b16": (85.80, B),
        "clip_l14": (303.18, {**L, "patch_size": 14}),
        "clip_l14_336": (303.51, {**L, "patch_size": 14, "img_size": 336}),
    },
    pre_norm=True,
    mlp="quick_gelu",
    norm_eps=1e-5,
    pos_interpolation=dict(antialias=True),
)

# ViTDet stores MAE's positions of 224 pixels; the last block of each quarter is global.
WINDOW = dict(type="window", window_size=14)
_add(
    "VisionTransformer",
    "ViTDet, Li et al. 2022 (arXiv:2203.16527), detectron2's configs",
    {
        "vitdet_b": (85.89, {**B, "attention": (WINDOW, WINDOW, "global"), "drop_path_rate": 0.1}),
        "vitdet_l": (
            303.43,
            {**L, "attention": (WINDOW,) * 5 + ("global",), "drop_path_rate": 0.4},
        ),
        "vitdet_h": (
            631.12,
            {**H, "attention": (WINDOW,) * 7 + ("global",), "drop_path_rate": 0.5},
        ),
    },
    position=("learned", "decomposed"),
    img_size=1024,
    pretrain_img_size=224,
    cls_token=False,
    final_norm=False,
)

# Settings are those of the authors' configs; MViTArch's defaults are MViTv2-T's.
_add(
    "MViT",
    "MViT, Fan et al. 2021 (arXiv:2104.11227), the ImageNet model with convolutional pooling",
    {"mvit_b16": (36.21, dict(depths=(1, 2, 11, 2)))},
    pool_every_q=False,
    cls_token=True,
    pos_embed="separate",
    pos_interpolation=dict(mode="bilinear"),  # the authors' trilinear, of one frame
    rel_pos=False,
    residual_pooling=False,
    dim_mul_in_attention=False,
)
_add(
    "MViT",
    "MViTv2, Li et al. 2022 (arXiv:2112.01526)",
    {
        "mvitv2_t": (23.40, dict(depths=(1, 2, 5, 2))),
        "mvitv2_s": (34.10, dict(depths=(1, 2, 11, 2))),
        "mvitv2_b": (50.70, dict(depths=(2, 3, 16, 3))),
        "mvitv2_l": (
            216.84,
            dict(embed_dims=144, depths=(2, 6, 36, 4), num_heads=2, dim_mul_in_attention=False),
        ),
    },
)

# Windows and sizes are those of the first published training. Others are settings: Swin,
# window_size=12 at 384x384. v2: 16 at 256x256; from L's pre-training at 192x192, with
# pretrained_window_sizes=(12, 12, 12, 6), 16 at 256x256 and 24 at 384x384.
_SWIN = dict(
    t=dict(embed_dims=96, depths=(2, 2, 6, 2)),
    s=dict(embed_dims=96, depths=(2, 2, 18, 2)),
    b=dict(embed_dims=128, depths=(2, 2, 18, 2)),
    l=dict(embed_dims=192, depths=(2, 2, 18, 2)),
)
_V2 = dict(window_size=8, img_size=256)
_add(
    "SwinTransformer",
    "Swin, Liu et al. 2021 (arXiv:2103.14030)",
    {
        "swin_t": (27.52, _SWIN["t"]),
        "swin_s": (48.84, _SWIN["s"]),
        "swin_b": (86.74, _SWIN["b"]),
        "swin_l": (195.00, _SWIN["l"]),
    },
)
_add(
    "SwinTransformer",
    "Swin v2, Liu et al. 2022 (arXiv:2111.09883)",
    {
        "swinv2_t": (27.58, {**_SWIN["t"], **_V2}),
        "swinv2_s": (48.96, {**_SWIN["s"], **_V2}),
        "swinv2_b": (86.89, {**_SWIN["b"], **_V2}),
        "swinv2_l": (195.20, {**_SWIN["l"], "window_size": 12, "img_size": 192}),
    },
    version=2,
)
