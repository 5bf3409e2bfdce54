"""timm: the model's name and the arguments of create_model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...backbones.base import Backbone
from ...backbones.mvit_arch import MViTArch
from ...backbones.swin_arch import SwinArch
from .common import (
    APPROXIMATIONS,
    Code,
    arguments,
    check_mvit,
    check_oblong_maps,
    check_one_window,
    check_plain,
    check_sam,
    check_windows,
    mlp_width,
    refuse,
    refuse_map,
    square,
    window_blocks,
)

Model = tuple[str, dict[str, Any]]


def timm_code(encoder: Backbone, path: str, names: Iterable[str] = ()) -> str:
    """Code that makes ``model``, loaded from ``path``, and its ``features`` of ``images``.

    Args:
        names: In the file: whether a DINOv3 has biases of queries and values tells which of timm's
            models it is. Those of the published files have.
    """
    kind = type(encoder).__name__
    if kind == "MViT":
        return _mvit_code(encoder, path)
    if kind == "VisionTransformer" and "decomposed" in encoder.arch.positions:
        return _sam_code(encoder, path)
    if kind == "VisionTransformer" and "rope2d" in encoder.arch.positions:
        names = list(names)
        if any("k_bias" in n for n in names):
            raise refuse("timm", encoder, "its keys have a bias, which its DINOv3 has not")
        name, settings = _dinov3(encoder, not names or any("q_bias" in n for n in names))
    else:
        name, settings = {"VisionTransformer": _vit, "SwinTransformer": _swin}[kind](encoder)
    imports, call = ["import timm"], "features = model.forward_features(images)"
    if any("partial(" in str(value) for value in settings.values()):
        imports = ["from functools import partial", "", "import timm", "import torch"]
    if settings.get("fc_norm"):
        call = "features = model(images)"
    words = arguments(dict(num_classes=0, **settings, checkpoint_path=path))
    return "\n".join([*imports, "", f"model = timm.create_model({name!r}, {words}).eval()", call])


def _layer_norm(eps: float) -> Code:
    return Code(f"partial(torch.nn.LayerNorm, eps={eps})")


def _sizes(encoder: Backbone) -> dict[str, Any]:
    arch = encoder.arch
    check_plain("timm", encoder)
    settings = dict(
        img_size=square(arch.img_size, "img_size"),
        patch_size=square(arch.patch_size, "patch_size"),
        embed_dim=arch.embed_dims,
        depth=arch.depth,
        num_heads=arch.heads,
        mlp_ratio=_ratio(mlp_width(encoder), arch.embed_dims),
    )
    return settings | (dict(in_chans=arch.in_channels) if arch.in_channels != 3 else {})


def _vit(encoder: Backbone) -> Model:
    arch, settings = encoder.arch, _sizes(encoder)
    name, eps = "vit_base_patch16_224", 1e-6
    if arch.mlp == "swiglu":  # timm's counts values and gates
        name = "vit_giant_patch14_dinov2"
        settings["mlp_ratio"] = _ratio(2 * mlp_width(encoder), arch.embed_dims)
    if arch.layer_scale_init is not None:
        settings["init_values"] = arch.layer_scale_init
    elif name != "vit_base_patch16_224":
        settings["init_values"] = 0.0  # None would be the model's own
    if arch.mlp in APPROXIMATIONS:
        settings["act_layer"] = arch.mlp  # by the same name
    if arch.pre_norm:
        settings["pre_norm"] = True
    if arch.num_registers:
        settings.update(reg_tokens=arch.num_registers, no_embed_class=True)
    elif arch.cls_token and encoder.pos_embed is not None and not arch.pos_embed_cls:
        settings["no_embed_class"] = True
    if not arch.cls_token:
        settings.update(class_token=False, global_pool="avg", fc_norm=False)
    if encoder.pos_embed is None:
        settings["pos_embed"] = "none"
    if not arch.qkv_bias:
        settings["qkv_bias"] = False
    if arch.qk_norm:
        settings["qk_norm"] = True
    if arch.pool_norm:
        settings.update(global_pool="avg", fc_norm=True)
    elif not arch.final_norm:
        settings["final_norm"] = False
    if arch.norm_eps != eps:
        settings["norm_layer"] = _layer_norm(arch.norm_eps)
    return name, settings


def _dinov3(encoder: Backbone, biased: bool) -> Model:
    arch, settings = encoder.arch, _sizes(encoder)
    other = encoder.pos_embed is not None or arch.layer_scale_init is None or not arch.cls_token
    if other or arch.pre_norm or arch.qk_norm or arch.mlp in APPROXIMATIONS:
        raise refuse("timm", encoder, "with rotary position it is DINOv3 or nothing there")
    gated = arch.mlp == "swiglu"
    name = f"vit_small_{'plus_' if gated else ''}patch16_dinov3{'_qkvb' if biased else ''}"
    settings.update(num_reg_tokens=arch.num_registers, rope_temperature=arch.rope_base)
    if arch.norm_eps != 1e-5:
        settings["norm_layer"] = _layer_norm(arch.norm_eps)
    return name, settings


def _sam_code(encoder: Backbone, path: str) -> str:
    """ViTDet's encoder is SAM's; timm's neck behind it is no part of ours."""
    arch = encoder.arch
    side, windowed = window_blocks("timm", encoder)
    check_sam("timm", encoder)
    settings = dict(
        num_classes=0,
        img_size=square(arch.img_size, "img_size"),
        patch_size=square(arch.patch_size, "patch_size"),
        embed_dim=arch.embed_dims,
        depth=arch.depth,
        num_heads=arch.heads,
        mlp_ratio=_ratio(mlp_width(encoder), arch.embed_dims),
        window_size=side,
        global_attn_indexes=tuple(i for i in range(arch.depth) if i not in windowed),
    )
    if arch.in_channels != 3:
        settings["in_chans"] = arch.in_channels
    if not arch.qkv_bias:
        settings["qkv_bias"] = False
    settings["norm_layer"] = _layer_norm(arch.norm_eps)  # timm's has 1e-5, SAM's 1e-6
    return "\n".join(
        [
            "from functools import partial",
            "",
            "import timm",
            "import torch",
            "",
            f"model = timm.create_model('samvit_base_patch16', {arguments(settings)}).eval()",
            "model.neck = torch.nn.Identity()",
            f"timm.models.load_checkpoint(model, {path!r})",
            "features = model.forward_features(images)",
        ]
    )


def _swin(encoder: Backbone) -> Model:
    arch = encoder.arch
    if arch.version == 1:  # version 2 has nothing of the windows' size, which shrink there, too
        check_windows("timm", encoder)
    check_one_window("timm", encoder)
    check_oblong_maps("timm", encoder)
    _check_multiples(encoder)
    settings = dict(
        img_size=square(arch.img_size, "img_size"), **swin_settings(arch), strict_img_size=False
    )
    if arch.in_channels != 3:
        settings["in_chans"] = arch.in_channels
    if arch.pad_small_map:
        settings["always_partition"] = True
    if arch.version == 2:
        return "swinv2_tiny_window8_256", settings
    return "swin_tiny_patch4_window7_224", settings


def _check_multiples(encoder: Backbone) -> None:
    """Raise a UserError where maps are padded to whole windows: timm shifts before it pads."""
    arch = encoder.arch
    for stage, ((h, w), window) in enumerate(zip(arch.grids, arch.windows)):
        if (h % window or w % window) and arch.depths[stage] > 1 and min(h, w) > window:
            why = f"no multiple of its windows of {window}, and timm pads in another way; give an "
            raise refuse_map("timm", encoder, stage, f"{why}img_size for which all are")


def swin_settings(arch: SwinArch) -> dict[str, Any]:
    """Of its Swin or Swin v2, apart from the images; it has one window in all stages."""
    settings = dict(
        patch_size=arch.patch_size,
        embed_dim=arch.embed_dims,
        depths=tuple(arch.depths),
        num_heads=arch.heads,
        window_size=arch.windows[0],
        mlp_ratio=arch.mlp_ratio,
        qkv_bias=arch.qkv_bias,
    )
    if arch.version == 2 and any(arch.pretrained_windows):
        settings["pretrained_window_sizes"] = arch.pretrained_windows
    return settings


def mvit_settings(arch: MViTArch) -> dict[str, Any]:
    """Of its MultiScaleVitCfg."""
    return dict(
        depths=tuple(arch.depths),
        embed_dim=arch.embed_dims,
        num_heads=arch.num_heads,
        mlp_ratio=arch.mlp_ratio,
        expand_attn=arch.dim_mul_in_attention,
        qkv_bias=arch.qkv_bias,
        use_cls_token=arch.cls_token,
        residual_pooling=arch.residual_pooling,
        kernel_qkv=(arch.pool_kernel,) * 2,
        stride_q=((1, 1), *((2, 2),) * (len(arch.depths) - 1)),
        stride_kv_adaptive=(arch.kv_stride,) * 2,
        rel_pos_type="spatial" if arch.rel_pos else "",
        norm_eps=arch.norm_eps,
        patch_kernel=(arch.patch_kernel,) * 2,
        patch_stride=(arch.patch_stride,) * 2,
        patch_padding=(arch.patch_kernel // 2,) * 2,
    )


def _mvit_code(encoder: Backbone, path: str) -> str:
    arch = encoder.arch
    if not arch.pool_every_q or arch.window_size is not None or arch.pool_mode != "conv":
        raise refuse("timm", encoder, "it is no MViTv2 with global attention")
    if arch.pos_embed != "none":
        raise refuse("timm", encoder, "its absolute positions have no place there")
    check_mvit("timm", encoder)
    size = square(arch.img_size, "img_size")
    return "\n".join(
        [
            "import timm",
            "from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg",
            "",
            f"cfg = MultiScaleVitCfg({arguments(mvit_settings(arch))})",
            f"model = MultiScaleVit(cfg, img_size={size}, in_chans={arch.in_channels}, "
            "num_classes=0).eval()",
            f"timm.models.load_checkpoint(model, {path!r})",
            "features = model.forward_features(images)",
        ]
    )


def _ratio(hidden: int, width: int) -> float:
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width
