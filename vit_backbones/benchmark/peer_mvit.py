"""MViTv2 of timm and mmpretrain, and torchvision's video MViT on a single frame."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from ..arguments import to_pair
from ..backbones.mvit_arch import MViTArch
from ..checkpoint.peers.openmmlab import mvit_settings as mmpretrain_settings
from ..checkpoint.peers.timm import mvit_settings as timm_settings
from ..checkpoint.peers.torchvision import mvit_settings as torchvision_settings
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
    encoder = MultiScaleVit(
        MultiScaleVitCfg(**timm_settings(arch)),
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
        **mmpretrain_settings(arch),
        img_size=max(to_pair(arch.img_size, "img_size")),  # it holds positions of squares
        out_scales=list(range(last + 1)) if maps else [last],
        drop_path_rate=arch.drop_path_rate,
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

    blocks, settings = torchvision_settings(arch)
    encoder = MViT(
        block_setting=[MSBlockConfig(**block) for block in blocks],
        stochastic_depth_prob=arch.drop_path_rate,
        **settings,
    )
    encoder.head = nn.Identity()
    # its forward ends with the class token alone: the norm before that has all tokens
    tokens: list[Tensor] = []
    encoder.norm.register_forward_hook(lambda module, inputs, output: tokens.append(output))

    def run(images: Tensor) -> Tensor:
        encoder(images[:, :, None])
        return tokens.pop()

    return Peer(encoder, run)
