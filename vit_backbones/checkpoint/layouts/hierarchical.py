"""Names of Swin and MViT. Ours are those of their authors' code."""

from __future__ import annotations

from .layout import Layout

SWIN_NAMES = (
    "absolute_pos_embed",
    "patch_embed.proj.*",
    "patch_embed.norm.*",
    "layers.*.blocks.*.norm1.*",
    "layers.*.blocks.*.attn.*",
    "layers.*.blocks.*.attn.*.*",
    "layers.*.blocks.*.attn.cpb_mlp.*.*",
    "layers.*.blocks.*.norm2.*",
    "layers.*.blocks.*.mlp.*.*",
    "layers.*.downsample.*.*",
    "norm.*",
    "norm0.*",
    "norm1.*",
    "norm2.*",
    "norm3.*",
)

MVIT_NAMES = (
    "cls_token",
    "pos_embed",
    "pos_embed_spatial",
    "pos_embed_temporal",
    "pos_embed_class",
    "patch_embed.proj.*",
    "blocks.*.norm1.*",
    "blocks.*.attn.*",
    "blocks.*.attn.*.*",
    "blocks.*.norm2.*",
    "blocks.*.mlp.*.*",
    "blocks.*.proj.*",
    "norm.*",
    "norm0.*",
    "norm1.*",
    "norm2.*",
)

SWIN = Layout(
    "Swin's authors",
    ("patch_embed.proj.weight", "layers.*.blocks.*.norm1.weight"),
    names={name: name for name in SWIN_NAMES},
    ignored=(
        "layers.*.blocks.*.attn_mask",
        "layers.*.blocks.*.attn.relative_position_index",
        "layers.*.blocks.*.attn.relative_coords_table",
    ),
)

MVIT = Layout(
    "MViT's authors",
    ("patch_embed.proj.weight", "blocks.*.attn.qkv.weight"),
    names={name: name for name in MVIT_NAMES},
)
