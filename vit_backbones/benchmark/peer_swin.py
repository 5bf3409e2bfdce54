"""Swin and Swin v2 of timm, torchvision, mmpretrain, mmdet and transformers."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from ..backbones.base import to_pair
from ..backbones.swin_arch import SwinArch
from .peer import NotOffered, Peer, channels_last, check_settings, same_everywhere, whole

KNOWN = ("version", "embed_dims", "depths", "num_heads", "window_size", "patch_size", "mlp_ratio")
KNOWN += ("qkv_bias", "in_channels", "drop_path_rate")


def timm_swin(arch: SwinArch, maps: bool) -> Peer:
    from timm.models.swin_transformer import SwinTransformer
    from timm.models.swin_transformer_v2 import SwinTransformerV2

    check_settings(arch, *KNOWN, "pretrained_window_sizes")
    v2 = dict(pretrained_window_sizes=arch.pretrained_windows) if arch.version == 2 else {}
    encoder = (SwinTransformerV2 if arch.version == 2 else SwinTransformer)(
        img_size=to_pair(arch.img_size, "img_size"),
        patch_size=arch.patch_size,
        in_chans=arch.in_channels,
        num_classes=0,
        global_pool="",
        embed_dim=arch.embed_dims,
        depths=tuple(arch.depths),
        num_heads=arch.heads,
        window_size=same_everywhere("window_size", arch.windows),
        mlp_ratio=arch.mlp_ratio,
        qkv_bias=arch.qkv_bias,
        drop_path_rate=arch.drop_path_rate,
        **v2,
    )
    if not maps:
        return Peer(encoder, encoder.forward_features)
    encoder.norm = nn.Identity()
    intermediates = partial(encoder.forward_intermediates, intermediates_only=True)
    return Peer(encoder, lambda x: channels_last(intermediates(x)), stage_norms(arch))


def torchvision_swin(arch: SwinArch, maps: bool) -> Peer:
    from torchvision.models import swin_transformer as tv

    known = set(KNOWN) - {"qkv_bias", "in_channels"}
    check_settings(arch, *known)
    v2 = dict(block=tv.SwinTransformerBlockV2, downsample_layer=tv.PatchMergingV2)
    encoder = tv.SwinTransformer(
        [arch.patch_size] * 2,
        arch.embed_dims,
        list(arch.depths),
        list(arch.heads),
        [same_everywhere("window_size", arch.windows)] * 2,
        mlp_ratio=arch.mlp_ratio,
        stochastic_depth_prob=arch.drop_path_rate,
        **(v2 if arch.version == 2 else {}),
    )
    encoder.head = nn.Identity()
    if not maps:
        return Peer(encoder, lambda x: encoder.norm(encoder.features(x)))
    encoder.norm = nn.Identity()

    def stages(x: Tensor) -> list[Tensor]:  # patches, stage, merging, stage, merging, ...
        found = []
        for i, part in enumerate(encoder.features):
            x = part(x)
            if i % 2:
                found.append(x)
        return found

    return Peer(encoder, stages, stage_norms(arch))


def mmpretrain_swin(arch: SwinArch, maps: bool) -> Peer:
    from mmpretrain.models.backbones import SwinTransformer, SwinTransformerV2

    sizes = dict(embed_dims=arch.embed_dims, depths=list(arch.depths), num_heads=list(arch.heads))
    shared = dict(
        img_size=to_pair(arch.img_size, "img_size"),
        patch_size=arch.patch_size,
        in_channels=arch.in_channels,
        out_indices=stage_indices(arch, maps),
        drop_path_rate=arch.drop_path_rate,
        pad_small_map=arch.pad_small_map,
    )
    known = set(KNOWN) - {"qkv_bias", "mlp_ratio"}
    if arch.version == 1:
        check_settings(arch, *known, "pad_small_map")
        window = same_everywhere("window_size", arch.windows)
        encoder = SwinTransformer(sizes, window_size=window, **shared)
    else:
        check_settings(arch, *known, "pad_small_map", "pretrained_window_sizes")
        encoder = SwinTransformerV2(
            {**sizes, "extra_norm_every_n_blocks": 0},
            window_size=list(arch.windows),
            pretrained_window_sizes=list(arch.pretrained_windows),
            **shared,
        )
    return Peer(encoder, encoder)


def mmdet_swin(arch: SwinArch, maps: bool) -> Peer:
    from mmdet.models.backbones import SwinTransformer

    if arch.version != 1:
        raise NotOffered("has no Swin v2")
    check_settings(arch, *KNOWN, "pad_small_map")  # it always pads
    encoder = SwinTransformer(
        in_channels=arch.in_channels,
        embed_dims=arch.embed_dims,
        patch_size=arch.patch_size,
        window_size=same_everywhere("window_size", arch.windows),
        mlp_ratio=whole("mlp_ratio", arch.mlp_ratio),
        depths=tuple(arch.depths),
        num_heads=arch.heads,
        strides=(arch.patch_size, *(2,) * (len(arch.depths) - 1)),
        out_indices=stage_indices(arch, maps),
        qkv_bias=arch.qkv_bias,
        drop_path_rate=arch.drop_path_rate,
    )
    return Peer(encoder, encoder)


def transformers_swin(arch: SwinArch, maps: bool) -> Peer:
    import transformers

    v2 = ("pretrained_window_sizes",) if arch.version == 2 else ()
    check_settings(arch, *KNOWN, *v2)
    kind = "Swin" if arch.version == 1 else "Swinv2"
    options = dict(pretrained_window_sizes=list(arch.pretrained_windows)) if v2 else {}
    config = getattr(transformers, f"{kind}Config")(
        image_size=to_pair(arch.img_size, "img_size"),
        patch_size=arch.patch_size,
        num_channels=arch.in_channels,
        embed_dim=arch.embed_dims,
        depths=list(arch.depths),
        num_heads=list(arch.heads),
        window_size=same_everywhere("window_size", arch.windows),
        mlp_ratio=arch.mlp_ratio,
        qkv_bias=arch.qkv_bias,
        drop_path_rate=arch.drop_path_rate,
        out_indices=tuple(i + 1 for i in range(len(arch.depths))),
        **options,
    )
    if not maps:
        encoder = getattr(transformers, f"{kind}Model")(config, add_pooling_layer=False)
        return Peer(encoder, lambda x: encoder(x).last_hidden_state)
    encoder = getattr(transformers, f"{kind}Backbone")(config)
    if arch.version == 1:  # it has norms of its own, and a last one whose result it drops
        encoder.swin.layernorm = nn.Identity()
        return Peer(encoder, lambda x: encoder(x).feature_maps)
    return Peer(encoder, lambda x: channels_last(encoder(x).feature_maps), stage_norms(arch))


def stage_indices(arch: SwinArch, maps: bool) -> tuple[int, ...]:
    last = len(arch.depths) - 1
    return tuple(range(last + 1)) if maps else (last,)


def stage_norms(arch: SwinArch) -> list[nn.Module]:
    """What a library that puts out maps before their norms lacks."""
    return [nn.LayerNorm(dim) for dim in arch.dims]
