"""Independent implementations of the plain ViT, tiny, each beside ours with the same settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import timm
import torch
import transformers
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor, nn
from torchvision.models import vision_transformer as torchvision_vit

from vit_backbones import VisionTransformer, build_backbone  # before mmpretrain: it repairs it

from mmpretrain.models.backbones import VisionTransformer as MMViT  # isort: skip
from mmpretrain.models.backbones import ViTSAM  # isort: skip

PATCH, SIZE, DIM, DEPTH, HEADS = 4, 16, 32, 3, 2
TINY = dict(patch_size=PATCH, img_size=SIZE, embed_dims=DIM, depth=DEPTH, num_heads=HEADS)
TIMM = dict(patch_size=PATCH, img_size=SIZE, embed_dim=DIM, depth=DEPTH, num_heads=HEADS)
HF = dict(
    patch_size=PATCH,
    image_size=SIZE,
    hidden_size=DIM,
    num_hidden_layers=DEPTH,
    num_attention_heads=HEADS,
    intermediate_size=4 * DIM,
)
MM = dict(embed_dims=DIM, num_layers=DEPTH, num_heads=HEADS, feedforward_channels=4 * DIM)
WINDOW = dict(type="window", window_size=3)
# how the peers resize position embeddings
TIMM_RESIZES = dict(mode="bicubic", antialias=True)
BICUBIC = dict(mode="bicubic")


@dataclass
class Pair:
    """Our encoder, a peer, and how to run it.

    Attributes:
        run: Images -> outputs of the peer, in the order and shapes of ours.
        pads: Whether the peer takes sides that are no multiples of the patch.
    """

    model: VisionTransformer
    peer: nn.Module
    run: Callable[[Tensor], tuple[Tensor, ...]]
    pads: bool = False


def ours(preset: str, **settings) -> VisionTransformer:
    return build_backbone(preset, **{**TINY, "out_type": "raw", **settings})


def timm_pair(preset: str, name: str, **settings) -> Pair:
    timm_settings = settings.pop("timm", {})
    peer = timm.create_model(
        name, num_classes=0, dynamic_img_size=True, dynamic_img_pad=True, **TIMM, **timm_settings
    )
    model = ours(preset, pos_interpolation=TIMM_RESIZES, **settings)
    return Pair(model, peer, lambda x: (peer.forward_features(x),), pads=True)


def timm_sam() -> Pair:
    peer = VisionTransformerSAM(
        **TIMM,
        use_rel_pos=True,
        window_size=3,
        global_attn_indexes=(1,),
        num_classes=0,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    peer.neck = nn.Identity()
    model = ours(
        "vitdet_b",
        attention=(WINDOW, "global", WINDOW),
        pretrain_img_size=SIZE,
        out_type="featmap",
        pos_interpolation=TIMM_RESIZES,
    )
    return Pair(model, peer, lambda x: (peer.forward_features(x),))


def hf_pair(preset: str, kind: str, **settings) -> Pair:
    hf_settings = settings.pop("hf", {})
    config = getattr(transformers, f"{kind}Config")(**{**HF, **hf_settings})
    peer = getattr(transformers, f"{kind}Model")(config)
    takes = inspect.signature(peer.forward).parameters
    options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in takes else {}
    return Pair(ours(preset, **settings), peer, lambda x: (peer(x, **options).last_hidden_state,))


def hf_mae() -> Pair:
    pair = hf_pair(
        "mae_b16", "ViTMAE", hf=dict(mask_ratio=0.0, layer_norm_eps=1e-6), pos_interpolation=BICUBIC
    )

    def run(x: Tensor) -> tuple[Tensor]:
        count = (x.shape[2] // PATCH) * (x.shape[3] // PATCH)
        order = torch.arange(count).expand(x.shape[0], -1)  # it shuffles even what it doesn't mask
        return (pair.peer(x, noise=order, interpolate_pos_encoding=True).last_hidden_state,)

    return replace(pair, run=run)


def hf_dino() -> Pair:
    """transformers' ViT with DINO's own interpolation: its code adds 0.1 to the new size and hands
    over the factor."""
    pair = hf_pair("dino_s16", "ViT", hf=dict(layer_norm_eps=1e-6, hidden_act="gelu"))
    embeddings = pair.peer.embeddings

    def interpolate(tokens: Tensor, height: int, width: int) -> Tensor:
        position = embeddings.position_embeddings
        side = SIZE // PATCH
        if (height, width) == (SIZE, SIZE):
            return position
        patches = torch.nn.functional.interpolate(
            position[:, 1:].reshape(1, side, side, DIM).permute(0, 3, 1, 2),
            scale_factor=((height // PATCH + 0.1) / side, (width // PATCH + 0.1) / side),
            mode="bicubic",
        )
        return torch.cat([position[:, :1], patches.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)

    embeddings.interpolate_pos_encoding = interpolate
    return pair


def hf_clip() -> Pair:
    pair = hf_pair(
        "clip_b16", "CLIPVision", hf=dict(hidden_act="quick_gelu"), pos_interpolation=BICUBIC
    )

    def run(x: Tensor) -> tuple[Tensor]:
        tokens = pair.peer(x, interpolate_pos_encoding=True).last_hidden_state
        return (pair.peer.post_layernorm(tokens),)

    return replace(pair, run=run)


def hf_vitdet() -> Pair:
    return hf_pair(
        "vitdet_b",
        "VitDet",
        hf=dict(
            image_size=2 * SIZE,
            pretrain_image_size=SIZE,
            window_block_indices=[0, 2],
            window_size=3,
            use_relative_position_embeddings=True,
        ),
        img_size=2 * SIZE,
        pretrain_img_size=SIZE,
        attention=(WINDOW, "global", WINDOW),
        out_type="featmap",
    )


def mm_pair(preset: str, out_type: str = "raw", mm: Mapping = {}, **settings) -> Pair:
    peer = MMViT(arch=MM, img_size=SIZE, patch_size=PATCH, out_type=out_type, **mm)
    model = ours(preset, out_type=out_type, pos_interpolation=BICUBIC, **settings)
    return Pair(model, peer, peer, pads=True)


def mm_sam() -> Pair:
    peer = ViTSAM(
        arch={**MM, "global_attn_indexes": [1]},
        img_size=SIZE,
        patch_size=PATCH,
        out_channels=0,
        window_size=3,
        use_rel_pos=True,
    )
    model = ours(
        "vitdet_b",
        attention=(WINDOW, "global", WINDOW),
        pretrain_img_size=SIZE,
        out_type="featmap",
        pos_interpolation=BICUBIC,
    )
    return Pair(model, peer, peer, pads=True)


def torchvision_pair(size: int = SIZE) -> Pair:
    """torchvision's interpolation puts corners on corners."""
    peer = torchvision_vit.VisionTransformer(size, PATCH, DEPTH, HEADS, DIM, 4 * DIM)

    def run(x: Tensor) -> tuple[Tensor]:
        tokens = peer._process_input(x)
        return (peer.encoder(torch.cat([peer.class_token.expand(x.shape[0], -1, -1), tokens], 1)),)

    model = ours("vit_b16", pos_interpolation=dict(mode="bicubic", align_corners=True))
    return Pair(model, peer, run)


PAIRS: dict[str, Callable[[], Pair]] = {
    "ViT, timm": lambda: timm_pair("vit_b16", "vit_base_patch16_224"),
    "ViT, transformers": lambda: hf_pair(
        "vit_b16", "ViT", hf=dict(layer_norm_eps=1e-6), pos_interpolation=BICUBIC
    ),
    "ViT, mmpretrain": lambda: mm_pair("vit_b16"),
    "ViT averaged, mmpretrain": lambda: mm_pair("vit_b16", "avg_featmap", pool_norm=True),
    "ViT with QK norm, timm": lambda: timm_pair(
        "vit_b16", "vit_base_patch16_224", qk_norm=True, timm=dict(qk_norm=True)
    ),
    "DeiT III, timm": lambda: timm_pair("deit3_s16", "deit3_small_patch16_224"),
    "DeiT III, mmpretrain": lambda: mm_pair(
        "vit_b16", mm=dict(layer_scale_init_value=1e-6), layer_scale_init=1e-6
    ),
    "MAE, transformers": hf_mae,
    "DINO, transformers": hf_dino,
    "DINOv2, transformers": lambda: hf_pair("dinov2_s14", "Dinov2", pos_interpolation=BICUBIC),
    "DINOv2 giant, transformers": lambda: hf_pair(
        "dinov2_g14", "Dinov2", hf=dict(use_swiglu_ffn=True), pos_interpolation=BICUBIC
    ),
    "DINOv2 giant, timm": lambda: timm_pair(
        "dinov2_g14", "vit_giant_patch14_dinov2", mlp_ratio=4, timm=dict(mlp_ratio=5.5)
    ),
    "DINOv2 with registers, transformers": lambda: hf_pair("dinov2_s14_reg", "Dinov2WithRegisters"),
    "DINOv2 with registers, timm": lambda: timm_pair(
        "dinov2_s14_reg", "vit_small_patch14_reg4_dinov2", pos_embed_cls=False
    ),
    "DINOv3, transformers": lambda: hf_pair(
        "dinov3_s16", "DINOv3ViT", hf=dict(num_register_tokens=4)
    ),
    "DINOv3 S+, transformers": lambda: hf_pair(
        "dinov3_splus16",
        "DINOv3ViT",
        hf=dict(
            num_register_tokens=4, use_gated_mlp=True, hidden_act="silu", intermediate_size=4 * DIM
        ),
    ),
    "DINOv3, timm": lambda: timm_pair("dinov3_s16", "vit_small_patch16_dinov3_qkvb"),
    "DINOv3 S+, timm": lambda: timm_pair("dinov3_splus16", "vit_small_plus_patch16_dinov3_qkvb"),
    "CLIP, transformers": hf_clip,
    "CLIP, timm": lambda: timm_pair("clip_b16", "vit_base_patch16_clip_quickgelu_224"),
    "CLIP, mmpretrain": lambda: mm_pair(
        "clip_b16",
        mm=dict(pre_norm=True, norm_cfg=dict(type="LN", eps=1e-5)),
        mlp="gelu",
    ),
    "ViTDet, transformers": hf_vitdet,
    "ViTDet, timm's SAM": timm_sam,
    "ViTDet, mmpretrain's SAM": mm_sam,
}
