"""The plain ViT and ViTDet of timm, torchvision, mmpretrain and transformers."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from ..arguments import to_pair
from ..backbones.vit_arch import ViTArch
from .peer import NotOffered, Peer, check_settings, whole

SIZES = ("embed_dims", "depth", "num_heads", "mlp_ratio", "patch_size", "in_channels")
VITDET = (*SIZES, "qkv_bias", "norm_eps", "drop_path_rate", "position", "attention")
VITDET += ("cls_token", "final_norm")


def timm_vit(arch: ViTArch, maps: bool) -> Peer:
    norm = partial(nn.LayerNorm, eps=arch.norm_eps)
    shared = dict(
        img_size=to_pair(arch.img_size, "img_size"),
        patch_size=arch.patch,
        in_chans=arch.in_channels,
        num_classes=0,
        embed_dim=arch.embed_dims,
        depth=arch.depth,
        num_heads=arch.heads,
        mlp_ratio=arch.mlp_ratio,
        qkv_bias=arch.qkv_bias,
        drop_path_rate=arch.drop_path_rate,
        norm_layer=norm,
    )
    if is_vitdet(arch):
        from timm.models.vision_transformer_sam import VisionTransformerSAM

        window, global_blocks = window_and_global_blocks(arch)
        encoder = VisionTransformerSAM(
            **shared, use_rel_pos=True, window_size=window, global_attn_indexes=global_blocks
        )
        encoder.neck = nn.Identity()
        return Peer(encoder, lambda x: encoder.forward_features(x).permute(0, 3, 1, 2))

    from timm.models.vision_transformer import VisionTransformer

    known = ("qkv_bias", "qk_norm", "norm_eps", "drop_path_rate", "layer_scale_init", "cls_token")
    check_settings(arch, *SIZES, *known, "pos_embed_cls", "num_registers", "pre_norm", "final_norm")
    encoder = VisionTransformer(
        **shared,
        global_pool="",
        qk_norm=arch.qk_norm,
        init_values=arch.layer_scale_init,
        class_token=arch.cls_token,
        no_embed_class=not arch.pos_embed_cls,
        reg_tokens=arch.num_registers,
        pre_norm=arch.pre_norm,
        final_norm=arch.final_norm,
    )
    return Peer(encoder, encoder.forward_features)


def torchvision_vit(arch: ViTArch, maps: bool) -> Peer:
    from torchvision.models.vision_transformer import VisionTransformer

    check_settings(arch, *SIZES, "norm_eps")
    height, width = to_pair(arch.img_size, "img_size")
    if height != width or arch.patch[0] != arch.patch[1]:
        raise NotOffered(f"takes square images and patches only, not {height}x{width}")
    if arch.in_channels != 3:
        raise NotOffered(f"takes images of 3 channels, not {arch.in_channels}")
    encoder = VisionTransformer(
        height,
        arch.patch[0],
        arch.depth,
        arch.heads,
        arch.embed_dims,
        int(arch.embed_dims * arch.mlp_ratio),
        norm_layer=partial(nn.LayerNorm, eps=arch.norm_eps),
    )
    encoder.heads = nn.Identity()

    def run(images: Tensor) -> Tensor:  # its forward without the choice of the class token
        tokens = encoder._process_input(images)
        cls_token = encoder.class_token.expand(len(tokens), -1, -1)
        return encoder.encoder(torch.cat([cls_token, tokens], dim=1))

    return Peer(encoder, run)


def mmpretrain_vit(arch: ViTArch, maps: bool) -> Peer:
    from mmpretrain.models.backbones import VisionTransformer, ViTSAM

    sizes = dict(
        embed_dims=arch.embed_dims,
        num_layers=arch.depth,
        num_heads=arch.heads,
        feedforward_channels=int(arch.embed_dims * arch.mlp_ratio),
    )
    shared = dict(
        img_size=to_pair(arch.img_size, "img_size"),
        patch_size=arch.patch,
        in_channels=arch.in_channels,
        qkv_bias=arch.qkv_bias,
        drop_path_rate=arch.drop_path_rate,
        norm_cfg=dict(type="LN", eps=arch.norm_eps),
    )
    if is_vitdet(arch):
        window, global_blocks = window_and_global_blocks(arch)
        sizes["global_attn_indexes"] = global_blocks
        encoder = ViTSAM(sizes, **shared, out_channels=0, window_size=window, use_rel_pos=True)
        return Peer(encoder, encoder)
    known = ("qkv_bias", "norm_eps", "drop_path_rate", "layer_scale_init", "pre_norm", "final_norm")
    check_settings(arch, *SIZES, *known)
    encoder = VisionTransformer(
        sizes,
        **shared,
        out_type="raw",
        final_norm=arch.final_norm,
        layer_scale_init_value=arch.layer_scale_init or 0.0,
        pre_norm=arch.pre_norm,
    )
    return Peer(encoder, encoder)


def transformers_vit(arch: ViTArch, maps: bool) -> Peer:
    import transformers

    shared = dict(
        image_size=to_pair(arch.img_size, "img_size"),
        patch_size=arch.patch,
        num_channels=arch.in_channels,
        hidden_size=arch.embed_dims,
        num_hidden_layers=arch.depth,
        num_attention_heads=arch.heads,
        layer_norm_eps=arch.norm_eps,
        qkv_bias=arch.qkv_bias,
    )
    if is_vitdet(arch):
        window, global_blocks = window_and_global_blocks(arch)
        config = transformers.VitDetConfig(
            **shared,
            mlp_ratio=whole("mlp_ratio", arch.mlp_ratio),
            pretrain_image_size=max(to_pair(arch.img_size, "img_size")),  # squares only
            window_block_indices=[i for i in range(arch.depth) if i not in global_blocks],
            window_size=window,
            use_relative_position_embeddings=True,
            drop_path_rate=arch.drop_path_rate,
        )
        encoder = transformers.VitDetBackbone(config)
        return Peer(encoder, lambda x: encoder(x).feature_maps)
    if arch.layer_scale_init is not None:  # DINOv2
        check_settings(
            arch, *SIZES, "norm_eps", "layer_scale_init", "num_registers", "drop_path_rate"
        )
        kind = "Dinov2WithRegisters" if arch.num_registers else "Dinov2"
        shared |= dict(
            mlp_ratio=whole("mlp_ratio", arch.mlp_ratio),
            layerscale_value=arch.layer_scale_init,
            drop_path_rate=arch.drop_path_rate,
        )
        if arch.num_registers:
            shared |= dict(num_register_tokens=arch.num_registers)
        options = {}
    else:
        check_settings(arch, *SIZES, "qkv_bias", "norm_eps")
        kind, options = "ViT", dict(add_pooling_layer=False)
        shared["intermediate_size"] = int(arch.embed_dims * arch.mlp_ratio)
    config = getattr(transformers, f"{kind}Config")(**shared)
    encoder = getattr(transformers, f"{kind}Model")(config, **options)
    return Peer(encoder, lambda x: encoder(x).last_hidden_state)


def is_vitdet(arch: ViTArch) -> bool:
    """Whether it is ViTDet's encoder: windows, a few global blocks, decomposed positions.

    Raises:
        NotOffered: It has the positions, but differs from ViTDet's in something else.
    """
    if arch.positions != ("learned", "decomposed"):
        return False
    check_settings(arch, *VITDET)
    if arch.cls_token or arch.final_norm:
        raise NotOffered("has no ViTDet with a class token or a final norm")
    return True


def window_and_global_blocks(arch: ViTArch) -> tuple[int, list[int]]:
    """Side of the windows, and which blocks have none.

    Raises:
        NotOffered: There are no windows, or windows of several sizes.
    """
    sides = set(arch.window_sizes.values())  # other blocks are global: decomposed positions
    if len(sides) != 1:
        raise NotOffered(f"has windows of one size, not of {len(sides)}")
    return sides.pop(), [i for i in range(arch.depth) if i not in arch.window_sizes]
