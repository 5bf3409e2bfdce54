"""MViTv2 of timm and mmpretrain, and torchvision's video MViT on a single frame."""

from __future__ import annotations

from functools import partial
from itertools import accumulate

from torch import Tensor, nn

from ..backbones.base import to_pair
from ..backbones.mvit_arch import MViTArch
from ..layers.pooling_attention import Pooling
from .peer import NotOffered, Peer, channels_last, check_settings

SIZES = ("embed_dims", "depths", "num_heads", "mlp_ratio", "in_channels", "drop_path_rate")
V2 = (*SIZES, "patch_kernel", "patch_stride", "pool_kernel", "kv_stride", "residual_pooling")
V2 += ("dim_mul_in_attention", "qkv_bias", "norm_eps")


def timm_mvit(arch: MViTArch, maps: bool) -> Peer:
    from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg

    check_settings(arch, *V2, "cls_token")
    height, width = to_pair(arch.img_size, "img_size")
    if height != width:
        raise NotOffered(f"takes square images only, not {height}x{width}")
    stages = len(arch.depths)
    cfg = MultiScaleVitCfg(
        depths=tuple(arch.depths),
        embed_dim=arch.embed_dims,
        num_heads=arch.num_heads,
        mlp_ratio=arch.mlp_ratio,
        expand_attn=arch.dim_mul_in_attention,
        qkv_bias=arch.qkv_bias,
        use_cls_token=arch.cls_token,
        residual_pooling=arch.residual_pooling,
        kernel_qkv=(arch.pool_kernel,) * 2,
        stride_q=((1, 1), *((2, 2),) * (stages - 1)),
        stride_kv_adaptive=(arch.kv_stride,) * 2,
        patch_kernel=(arch.patch_kernel,) * 2,
        patch_stride=(arch.patch_stride,) * 2,
        patch_padding=(arch.patch_kernel // 2,) * 2,
        norm_eps=arch.norm_eps,
    )
    encoder = MultiScaleVit(
        cfg,
        img_size=(height, width),
        in_chans=arch.in_channels,
        num_classes=0,
        global_pool="",
        drop_path_rate=arch.drop_path_rate,
    )
    if not maps:
        return Peer(encoder, encoder.forward_features)
    encoder.norm = nn.Identity()
    intermediates = partial(encoder.forward_intermediates, intermediates_only=True)
    norms = [nn.LayerNorm(dim, eps=arch.norm_eps) for dim in arch.out_dims]
    return Peer(encoder, lambda x: channels_last(intermediates(x)), norms)


def mmpretrain_mvit(arch: MViTArch, maps: bool) -> Peer:
    from mmpretrain.models.backbones import MViT

    check_settings(arch, *V2)
    last = len(arch.depths) - 1
    encoder = MViT(
        dict(
            embed_dims=arch.embed_dims,
            num_layers=sum(arch.depths),
            num_heads=arch.num_heads,
            downscale_indices=list(accumulate(arch.depths))[:-1],
        ),
        img_size=max(to_pair(arch.img_size, "img_size")),  # it holds positions of squares
        in_channels=arch.in_channels,
        out_scales=list(range(last + 1)) if maps else [last],
        drop_path_rate=arch.drop_path_rate,
        pool_kernel=(arch.pool_kernel,) * 2,
        adaptive_kv_stride=arch.kv_stride,
        residual_pooling=arch.residual_pooling,
        dim_mul_in_attention=arch.dim_mul_in_attention,
        mlp_ratio=arch.mlp_ratio,
        qkv_bias=arch.qkv_bias,
        norm_cfg=dict(type="LN", eps=arch.norm_eps),
        patch_cfg=dict(
            kernel_size=arch.patch_kernel, stride=arch.patch_stride, padding=arch.patch_kernel // 2
        ),
    )
    return Peer(encoder, encoder)


def torchvision_mvit(arch: MViTArch, maps: bool) -> Peer:
    from torchvision.models.video.mvit import MSBlockConfig, MViT

    if arch.rel_pos or not arch.cls_token or arch.residual_pooling or arch.dim_mul_in_attention:
        raise NotOffered("has MViTv2 for videos only, with positions in time")
    v1 = ("rel_pos", "cls_token", "residual_pooling", "dim_mul_in_attention", "pos_embed")
    known = ("embed_dims", "depths", "num_heads", "drop_path_rate", "pool_every_q", "pool_kernel")
    check_settings(arch, *known, *v1, "kv_stride", "patch_kernel", "patch_stride")
    if arch.pos_embed != "separate":
        raise NotOffered(f"has no MViT with pos_embed='{arch.pos_embed}'")
    if maps:
        raise NotOffered("puts out its last stage only")

    def pooling(pool: Pooling | None, figure: str) -> list[int]:
        return [1, *(getattr(pool, figure),) * 2] if pool else []

    blocks = [
        MSBlockConfig(
            num_heads=plan.num_heads,
            input_channels=plan.dim,
            output_channels=plan.out_dim,
            kernel_q=pooling(plan.pool_q, "kernel"),
            kernel_kv=pooling(plan.pool_kv, "kernel"),
            stride_q=pooling(plan.pool_q, "stride"),
            stride_kv=pooling(plan.pool_kv, "stride"),
        )
        for plan in arch.plan()
    ]
    encoder = MViT(
        spatial_size=to_pair(arch.img_size, "img_size"),
        temporal_size=1,
        block_setting=blocks,
        residual_pool=False,
        residual_with_cls_embed=False,
        rel_pos_embed=False,
        proj_after_attn=False,
        stochastic_depth_prob=arch.drop_path_rate,
        patch_embed_kernel=(1, arch.patch_kernel, arch.patch_kernel),
        patch_embed_stride=(1, arch.patch_stride, arch.patch_stride),
        patch_embed_padding=(0, arch.patch_kernel // 2, arch.patch_kernel // 2),
    )
    encoder.head = nn.Identity()
    # its forward ends with the class token alone: the norm before that has all tokens
    tokens: list[Tensor] = []
    encoder.norm.register_forward_hook(lambda module, inputs, output: tokens.append(output))

    def run(images: Tensor) -> Tensor:
        encoder(images[:, :, None])
        return tokens.pop()

    return Peer(encoder, run)
