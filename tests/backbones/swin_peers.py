"""Independent implementations of Swin, tiny, each beside ours with the same settings."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import timm
import torch
import transformers
from torch import Tensor, nn
from torchvision.models import swin_transformer as tv

from tests.parity import Weights
from vit_backbones import SwinTransformer  # before mmpretrain and mmdet: it repairs their imports

from mmdet.models.backbones import SwinTransformer as MMDetSwin  # isort: skip
from mmpretrain.models.backbones import SwinTransformer as MMSwin  # isort: skip
from mmpretrain.models.backbones import SwinTransformerV2 as MMSwinV2  # isort: skip

DIM, DEPTHS, HEADS, WINDOW, SIZE = 16, (2, 2, 2), (1, 2, 4), 4, 64
STAGES = tuple(range(len(DEPTHS)))


@dataclass
class Pair:
    """Our encoder with all its outputs, a peer, and how to run it and read its weights.

    Attributes:
        run: Images -> outputs of the peer, in the order and shapes of ours.
        rules: Regular expressions and what replaces them, from the peer's names to ours.
        unfolds: The peer merges patches channel by channel (mmdet, mmpretrain).
        merges_first: The peer's merging stands before the blocks of the next stage.
    """

    model: SwinTransformer
    peer: nn.Module
    run: Callable[[Tensor], tuple[Tensor, ...]]
    rules: list[tuple[str, str]] = field(default_factory=list)
    unfolds: bool = False
    merges_first: bool = False

    def translate(self, weights: Weights) -> Weights:
        """The peer's weights (or their gradients) by our names and in our order."""
        found = {}
        for name, value in weights.items():
            for pattern, replacement in self.rules:
                name = re.sub(pattern, replacement, name)
            if self.merges_first and ".downsample." in name:
                _, stage, rest = name.split(".", 2)
                name = f"layers.{int(stage) - 1}.{rest}"
            if self.unfolds and re.search(r"downsample\.(reduction|norm)", name):
                value = neighbours_first(value, self.model)
            found[name] = value
        return {name: find(found, name, own) for name, own in self.model.named_parameters()}


def neighbours_first(value: Tensor, model: SwinTransformer) -> Tensor:
    """Channels of four neighbours, from (channel, row, column) to the authors' (column, row,
    channel)."""
    if value.shape[-1] % 4 or (value.ndim == 1 and model.arch.version == 2):
        return value  # a norm after the merging
    return value.unflatten(-1, (-1, 2, 2)).transpose(-1, -3).flatten(-3)


def find(found: Weights, name: str, own: Tensor) -> Tensor:
    """The value of our parameter ``name``, joined or cut where the peer splits or joins it."""
    if name in found:
        return found[name]
    stem, last = name.rsplit(".", 1)
    if "attn.qkv" in name:
        return torch.cat([found[name.replace("qkv", part)] for part in ("query", "key", "value")])
    if last in ("q_bias", "v_bias"):
        separate = f"{stem}.{'query' if last == 'q_bias' else 'value'}.bias"
        if separate in found:
            return found[separate]
        return found[f"{stem}.qkv.bias"].chunk(3)[0 if last == "q_bias" else 2]
    raise KeyError(f"the peer has nothing for {name} {tuple(own.shape)}")


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
    return Pair(ours(version, **settings), normed, normed, [(r"^peer\.", "")], merges_first=True)


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

    rules = [
        (r"^peer\.features\.0\.0", "patch_embed.proj"),
        (r"^peer\.features\.0\.2", "patch_embed.norm"),
        (
            r"^peer\.features\.(\d+)\.(reduction|norm)",
            lambda m: f"layers.{int(m[1]) // 2 - 1}.downsample.{m[2]}",
        ),
        (r"^peer\.features\.(\d+)\.(\d+)", lambda m: f"layers.{int(m[1]) // 2}.blocks.{m[2]}"),
        (r"mlp\.0", "mlp.fc1"),
        (r"mlp\.3", "mlp.fc2"),
        (r"cpb_mlp\.fc1", "cpb_mlp.0"),
    ]
    normed = Normed(peer, maps)
    return Pair(ours(version), normed, normed, rules)


HF_RULES = [
    (r"^(peer\.|swin\.)", ""),
    (r"^hidden_states_norms\.stage(\d)", lambda m: f"norm{int(m[1]) - 1}"),
    (r"^embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^embeddings\.norm", "patch_embed.norm"),
    (r"^encoder\.", ""),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"attention\.(o_proj|output\.dense)", "attn.proj"),
    (r"attention\.relative_position_bias", "attn"),
    (r"attention\.(q|k|v)_proj", lambda m: f"attn.{dict(q='query', k='key', v='value')[m[1]]}"),
    (r"attention\.self", "attn"),
    (r"continuous_position_bias_mlp", "cpb_mlp"),
    (r"intermediate\.dense", "mlp.fc1"),
    (r"\.output\.dense", ".mlp.fc2"),
]


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
        return Pair(model, peer, lambda x: peer(x).feature_maps, HF_RULES)
    peer = transformers.Swinv2Backbone(hf_config(2, size))
    normed = Normed(peer, lambda x: peer(x).feature_maps)
    return Pair(ours(2), normed, normed, HF_RULES)


def hf_model_pair(version: int, size: tuple[int, int]) -> Pair:
    """The classifiers' encoders: the last map alone."""
    peer_class = transformers.SwinModel if version == 1 else transformers.Swinv2Model
    peer = peer_class(hf_config(version, size), add_pooling_layer=False)

    def run(images: Tensor) -> tuple[Tensor]:
        tokens = peer(images).last_hidden_state
        side = images.shape[2] // 16
        return (tokens.transpose(1, 2).unflatten(2, (side, -1)),)

    rules = [*HF_RULES, (r"^layernorm", "norm")]
    return Pair(ours(version, out_indices=-1), peer, run, rules)


MM_RULES = [
    (r"patch_embed\.projection", "patch_embed.proj"),
    (r"^stages", "layers"),
    (r"attn\.w_msa", "attn"),
    (r"ffn\.layers\.0\.0", "mlp.fc1"),
    (r"ffn\.layers\.1", "mlp.fc2"),
]


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
    pair = Pair(ours(version, **settings), peer, peer, MM_RULES, unfolds=True)
    pair.merges_first = version == 2
    return pair


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
    return Pair(model, peer, peer, MM_RULES, unfolds=True)
