"""A tiny encoder of every family, and comparing its output with that of another library's model."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.parity import assert_alive, random_images, randomize, relative_error
from vit_backbones import build_backbone
from vit_backbones.arguments import to_pair
from vit_backbones.backbones.base import Backbone

WINDOW = dict(type="window", window_size=3)
VIT = dict(patch_size=4, img_size=16, embed_dims=32, depth=3, num_heads=2)
VITDET = dict(attention=(WINDOW, "global", WINDOW), pretrain_img_size=None, out_type="featmap")
SWIN = dict(embed_dims=16, depths=(2, 2), num_heads=(1, 2), window_size=4, img_size=64)
MVIT = dict(embed_dims=16, depths=(1, 2, 1), img_size=64)
TINY = {
    "vit_b16": VIT,
    "deit3_s16": VIT,
    "mae_b16": VIT,
    "dino_s16": VIT,
    "dinov2_s14": VIT,
    "dinov2_g14": VIT,
    "dinov2_s14_reg": VIT,
    "dinov3_s16": VIT,
    "dinov3_splus16": VIT,
    "clip_b16": VIT,
    "vitdet_b": VIT | VITDET,
    "swin_t": SWIN,
    "swinv2_t": SWIN,
    "mvit_b16": MVIT,
    "mvitv2_t": MVIT,
    "mvitv2_l": MVIT | dict(num_heads=2),
}


def build_like(name: str) -> Backbone:
    """The same encoder with its first values, to be loaded."""
    return build_backbone(name, **TINY[name]).eval()


def tiny(name: str, **settings) -> Backbone:
    """With random values in all parameters, tokens where it has a class token."""
    encoder = build_backbone(name, **{**TINY[name], **settings})
    if getattr(encoder, "out_type", None) == "cls_token":
        encoder.out_type = "raw"
    randomize(encoder)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name == "pos_embed_temporal":  # of the only frame: part of every position
                parameter.zero_()
            elif name.endswith("qkv.bias") and not getattr(encoder.arch, "key_bias", True):
                parameter.chunk(3)[1].zero_()
    return encoder.eval()


def images_for(encoder: Backbone) -> Tensor:
    return random_images(2, *to_pair(encoder.arch.img_size, "img_size"))[:, : encoder.in_channels]


def assert_same_features(encoder: Backbone, theirs: Tensor, images: Tensor) -> None:
    """To 1e-5 of the largest value, whatever form theirs have: tokens (B, N, C), maps (B, C, h, w)
    or (B, h, w, C), class token or mean (B, C)."""
    with torch.no_grad():
        ours = encoder(images)[-1]
    assert_alive(theirs)
    if ours.ndim == 4 and theirs.ndim == 4 and theirs.shape != ours.shape:
        theirs = theirs.permute(0, 3, 1, 2)
    elif ours.ndim == 4 and theirs.ndim == 3:
        ours = ours.flatten(2).transpose(1, 2)
    elif ours.ndim == 4 and theirs.ndim == 2:
        ours = ours.mean((2, 3))
    elif ours.ndim == 3 and theirs.ndim == 2:
        ours = ours[:, 0]
    assert relative_error(ours, theirs) < 1e-5
