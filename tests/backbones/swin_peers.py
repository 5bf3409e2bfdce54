"""Independent implementations of Swin, tiny, each beside ours with the same settings."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import timm
import transformers
from torch import Tensor, nn
from torchvision.models import swin_transformer as tv

from tests.parity import Weights, by_our_names
from vit_backbones import SwinTransformer  # before mmpretrain and mmdet: it repairs their imports

from mmdet.models.backbones import SwinTransformer as MMDetSwin  # isort: skip
from mmpretrain.models.backbones import SwinTransformer as MMSwin  # isort: skip
from mmpretrain.models.backbones import SwinTransformerV2 as MMSwinV2  # isort: skip

DIM, DEPTHS, HEADS, WINDOW, SIZE = 16, (2, 2, 2), (1, 2, 4), 4, 64
STAGES = tuple(range(len(DEPTHS)))


@dataclass
class Pair:
    """Our encoder with all its outputs, a peer, and how to run it: images -> outputs of the peer,
    in the order and shapes of ours."""

    model: SwinTransformer
    peer: nn.Module
    run: Callable[[Tensor], tuple[Tensor, ...]]


def translate(model: SwinTransformer, weights: Weights) -> Weights:
    """A peer's weights by our names; where it has no norms of its outputs, those around it."""
    around = {name: value for name, value in weights.items() if re.match(r"norm\d", name)}
    inner = {n.removeprefix("peer."): t for n, t in weights.items() if n.startswith("peer.")}
    return by_our_names(model, inner | around if inner else weights)


class Normed(nn.Module):
    """A peer that puts out maps without norms (B, C, h, w), and norms for them."""

    def __init__(self, peer: nn.Module, maps: Callable[[Tensor], list[Tensor]]) -> None:
        super().__init__()
        self.peer = peer
        self.maps = maps
        for i in STAGES:
            self.add_module(f"norm{i}", nn.LayerNorm(DIM * 2**i))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = [x.permute(0, 2, 3, 1) for x in self.maps(images)]
        return tuple(getattr(self, f"norm{i}")(x).permute(0, 3, 1, 2) for i, x in enumerate(maps))


def ours(version: int, **settings) -> SwinTransformer:
    tiny = dict(version=version, embed_dims=DIM, depths=DEPTHS, num_heads=HEADS, window_size=WINDOW)
    return SwinTransformer(arch=tiny, **{"out_indices": STAGES, **settings})


def timm_pair(version: int, size: tuple[int, int], **settings) -> Pair:
    """timm decides about small maps when it is built, by ``size``."""
    name = {1: "swin_tiny_patch4_window7_224", 2: "swinv2_tiny_window8_256"}[version]
    peer = timm.create_model(
        name,
        num_classes=0,
        img_size=size,
        window_size=WINDOW,
        embed_dim=DIM,
        depths=DEPTHS,
        num_heads=HEADS,
        **settings.pop("timm", {}),
    )
    normed = Normed(peer, lambda x: peer.forward_intermediates(x, intermediates_only=True))
    return Pair(ours(version, **settings), normed, normed)


def torchvision_pair(version: int) -> Pair:
    parts = (
        {}
        if version == 1
        else dict(block=tv.SwinTransformerBlockV2, downsample_layer=tv.PatchMergingV2)
    )
    window = [WINDOW, WINDOW]
    peer = tv.SwinTransformer([4, 4], DIM, list(DEPTHS), list(HEADS), window, **parts)

    def maps(images: Tensor) -> list[Tensor]:
        x, found = images, []
        for i, part in enumerate(peer.features):
            x = part(x)
            if i % 2:
                found.append(x.permute(0, 3, 1, 2))
        return found

    normed = Normed(peer, maps)
    return Pair(ours(version), normed, normed)


def hf_config(version: int, size: tuple[int, int]) -> transformers.PretrainedConfig:
    """Version 2 decides about small maps when it is built, by ``size``, halved and rounded down."""
    total = 4 * 2 ** STAGES[-1]
    config = transformers.SwinConfig if version == 1 else transformers.Swinv2Config
    return config(
        image_size=tuple(side + -side % total for side in size),
        embed_dim=DIM,
        depths=list(DEPTHS),
        num_heads=list(HEADS),
        window_size=WINDOW,
        out_indices=tuple(i + 1 for i in STAGES),
    )


def hf_backbone_pair(version: int, size: tuple[int, int]) -> Pair:
    if version == 1:  # always whole windows
        peer = transformers.SwinBackbone(hf_config(1, size))
        model = ours(1, pad_small_map=True)
        return Pair(model, peer, lambda x: peer(x).feature_maps)
    peer = transformers.Swinv2Backbone(hf_config(2, size))
    normed = Normed(peer, lambda x: peer(x).feature_maps)
    return Pair(ours(2), normed, normed)


def hf_model_pair(version: int, size: tuple[int, int]) -> Pair:
    """The classifiers' encoders: the last map alone."""
    peer_class = transformers.SwinModel if version == 1 else transformers.Swinv2Model
    peer = peer_class(hf_config(version, size), add_pooling_layer=False)

    def run(images: Tensor) -> tuple[Tensor]:
        tokens = peer(images).last_hidden_state
        side = images.shape[2] // 16
        return (tokens.transpose(1, 2).unflatten(2, (side, -1)),)

    return Pair(ours(version, out_indices=-1), peer, run)


def mmpretrain_pair(version: int, **settings) -> Pair:
    arch = dict(embed_dims=DIM, depths=list(DEPTHS), num_heads=list(HEADS))
    shared = dict(
        img_size=SIZE,
        out_indices=STAGES,
        pad_small_map=settings.get("pad_small_map", False),
    )
    if version == 1:
        peer = MMSwin(arch, window_size=WINDOW, **shared)
    else:
        arch["extra_norm_every_n_blocks"] = 0
        windows = [settings.get("window_size", WINDOW)] * len(DEPTHS)
        pretrained = list(settings.get("pretrained_window_sizes", [0] * len(DEPTHS)))
        peer = MMSwinV2(arch, window_size=windows, pretrained_window_sizes=pretrained, **shared)
    return Pair(ours(version, **settings), peer, peer)


def mmdet_pair() -> Pair:
    peer = MMDetSwin(
        embed_dims=DIM,
        depths=DEPTHS,
        num_heads=HEADS,
        strides=(4, 2, 2),
        window_size=WINDOW,
        out_indices=STAGES,
    )
    model = ours(1, pad_small_map=True)
    return Pair(model, peer, peer)
