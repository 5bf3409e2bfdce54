"""Swin and Swin v2 of timm, torchvision, mmpretrain, mmdet and transformers."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from ..arguments import to_pair
from ..backbones.swin_arch import SwinArch
from ..checkpoint.peers.huggingface import swin_settings as transformers_settings
from ..checkpoint.peers.openmmlab import mmdet_swin_settings as mmdet_settings
from ..checkpoint.peers.openmmlab import mmpretrain_swin_settings as mmpretrain_settings
from ..checkpoint.peers.timm import swin_settings as timm_settings
from ..checkpoint.peers.torchvision import swin_settings as torchvision_settings
from .peer import NotOffered, Peer, channels_last, check_settings, whole

KNOWN = ("version", "embed_dims", "depths", "num_heads", "window_size", "patch_size", "mlp_ratio")
KNOWN += ("qkv_bias", "in_channels", "drop_path_rate")


def timm_swin(arch: SwinArch, maps: bool) -> Peer:
    from timm.models.swin_transformer import SwinTransformer
    from timm.models.swin_transformer_v2 import SwinTransformerV2

    check_settings(arch, *KNOWN, "pretrained_window_sizes")
    check_one_window(arch)
    encoder = (SwinTransformerV2 if arch.version == 2 else SwinTransformer)(
        img_size=to_pair(arch.img_size, "img_size"),
        in_chans=arch.in_channels,
        num_classes=0,
        global_pool="",
        drop_path_rate=arch.drop_path_rate,
        **timm_settings(arch),
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
    check_one_window(arch)
    v2 = dict(block=tv.SwinTransformerBlockV2, downsample_layer=tv.PatchMergingV2)
    encoder = tv.SwinTransformer(
        **torchvision_settings(arch),
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

    known = set(KNOWN) - {"qkv_bias"}
    v2 = ("pretrained_window_sizes",) if arch.version == 2 else ()
    check_settings(arch, *known, "pad_small_map", *v2)
    if arch.version == 1:
        check_one_window(arch)
    encoder = (SwinTransformerV2 if arch.version == 2 else SwinTransformer)(
        **mmpretrain_settings(arch),
        img_size=to_pair(arch.img_size, "img_size"),
        out_indices=stage_indices(arch, maps),
        drop_path_rate=arch.drop_path_rate,
    )
    return Peer(encoder, encoder)


def mmdet_swin(arch: SwinArch, maps: bool) -> Peer:
    from mmdet.models.backbones import SwinTransformer

    if arch.version != 1:
        raise NotOffered("has no Swin v2")
    check_settings(arch, *KNOWN, "pad_small_map")  # it always pads
    check_one_window(arch)
    whole("mlp_ratio", arch.mlp_ratio)
    encoder = SwinTransformer(
        **mmdet_settings(arch),
        out_indices=stage_indices(arch, maps),
        drop_path_rate=arch.drop_path_rate,
    )
    return Peer(encoder, encoder)


def transformers_swin(arch: SwinArch, maps: bool) -> Peer:
    import transformers

    v2 = ("pretrained_window_sizes",) if arch.version == 2 else ()
    check_settings(arch, *KNOWN, *v2)
    check_one_window(arch)
    kind = "Swin" if arch.version == 1 else "Swinv2"
    config = getattr(transformers, f"{kind}Config")(
        **transformers_settings(arch),
        image_size=to_pair(arch.img_size, "img_size"),
        drop_path_rate=arch.drop_path_rate,
        out_indices=tuple(i + 1 for i in range(len(arch.depths))),
    )
    if not maps:
        encoder = getattr(transformers, f"{kind}Model")(config, add_pooling_layer=False)
        return Peer(encoder, lambda x: encoder(x).last_hidden_state)
    encoder = getattr(transformers, f"{kind}Backbone")(config)
    if arch.version == 1:  # it has norms of its own, and a last one whose result it drops
        encoder.swin.layernorm = nn.Identity()
        return Peer(encoder, lambda x: encoder(x).feature_maps)
    return Peer(encoder, lambda x: channels_last(encoder(x).feature_maps), stage_norms(arch))


def check_one_window(arch: SwinArch) -> None:
    """Raise NotOffered where the stages differ in the size of their windows."""
    if len(set(arch.windows)) != 1:
        raise NotOffered(f"has one window_size for all stages, not {tuple(arch.windows)}")


def stage_indices(arch: SwinArch, maps: bool) -> tuple[int, ...]:
    last = len(arch.depths) - 1
    return tuple(range(last + 1)) if maps else (last,)


def stage_norms(arch: SwinArch) -> list[nn.Module]:
    """What a library that puts out maps before their norms lacks."""
    return [nn.LayerNorm(dim) for dim in arch.dims]
