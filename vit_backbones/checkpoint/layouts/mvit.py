"""Names of MViT and MViTv2 in other projects. Ours are their authors'."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping

from torch import Tensor

from .layout import Layout, StateDict, rename

MVIT_NAMES = (
    "cls_token",
    "pos_embed",
    "pos_embed_spatial",
    "pos_embed_temporal",
    "pos_embed_class",
    "patch_embed.proj.*",
    "blocks.*.norm1.*",
    "blocks.*.attn.qkv.*",
    "blocks.*.attn.proj.*",
    *(f"blocks.*.attn.{part}_{p}.*" for part in ("pool", "norm") for p in "qkv"),
    "blocks.*.attn.rel_pos_h",
    "blocks.*.attn.rel_pos_w",
    "blocks.*.norm2.*",
    "blocks.*.mlp.fc1.*",
    "blocks.*.mlp.fc2.*",
    "blocks.*.proj.*",
    "norm.*",
    "norm0.*",
    "norm1.*",
    "norm2.*",
)


_WIDENS = re.compile(r"blocks\.(\d+)\.proj\.weight")


def _count_stages(state: Mapping[str, Tensor]) -> int:
    """Each stage but the first begins with a block, or follows one, that widens its tokens."""
    return 1 + sum(_WIDENS.fullmatch(name) is not None for name in state)


def _drop_frames(state: StateDict) -> StateDict:
    """Kernels of one frame (C, I, 1, h, w) as those of an image (C, I, h, w)."""
    return {n: t.squeeze(2) if t.ndim == 5 and t.shape[2] == 1 else t for n, t in state.items()}


def _decode_authors(state: StateDict) -> StateDict:
    """SlowFast's kernels of video for one frame; detectron2's names of the output norms;
    pytorchvideo's of what is not in the blocks."""
    state = rename(state, r"scale(\d)_norm\.", lambda m: f"norm{int(m[1]) - 2}.")
    state = rename(state, r"patch_embed\.patch_model\.", "patch_embed.proj.")
    state = rename(state, r"cls_positional_encoding\.", "")
    state = rename(state, r"norm_embed\.", "norm.")
    return rename(_drop_frames(state), f"norm{_count_stages(state) - 1}\\.", "norm.")


MVIT = Layout(
    "MViT's authors",
    ("patch_embed.proj.weight", "patch_embed.patch_model.weight", "blocks.*.attn.qkv.weight"),
    names={name: name for name in MVIT_NAMES},
    aliases=[("blocks.*.attn.qkv.*", tuple(f"blocks.*.attn.{part}.*" for part in "qkv"))],
    foreign=("norm_stem.",),  # SlowFast's NORM_STEM
    decode=_decode_authors,
)


def _decode_timm(state: StateDict) -> StateDict:
    """Blocks counted per stage as blocks counted in all."""
    found = (re.match(r"stages\.(\d+)\.blocks\.(\d+)\.", name) for name in state)
    places = sorted({(int(match[1]), int(match[2])) for match in found if match})
    index = {place: i for i, place in enumerate(places)}
    state = rename(
        state,
        r"stages\.(\d+)\.blocks\.(\d+)\.",
        lambda m: f"blocks.{index[int(m[1]), int(m[2])]}.",
    )
    return rename(state, r"(blocks\.\d+)\.shortcut_proj_(?:attn|mlp)\.", r"\1.proj.")


def _encode_timm(state: StateDict, *_) -> StateDict:
    """The inverse; a shortcut's name says whether the attention widens the tokens, which starts a
    stage, or the MLP, which ends one."""
    starts, of_attention = [0], {}
    for number in sorted(int(m[1]) for n in state if (m := _WIDENS.fullmatch(n))):
        # the norm between the two has the attention's width
        widths = [len(state[f"blocks.{number}.norm{i}.weight"]) for i in (1, 2)]
        of_attention[number] = widths[0] != widths[1]
        starts.append(number if of_attention[number] else number + 1)

    def place(match: re.Match) -> str:
        number = int(match[1])
        stage = bisect.bisect_right(starts, number) - 1
        inner = f"shortcut_proj_{'attn' if of_attention[number] else 'mlp'}." if match[2] else ""
        return f"stages.{stage}.blocks.{number - starts[stage]}.{inner}"

    return rename(state, r"blocks\.(\d+)\.(proj\.)?", place)


TIMM_MVIT = Layout(
    "timm",
    ("stages.*.blocks.*.attn.qkv.weight",),
    names={
        name: name
        for name in MVIT_NAMES
        if not name.startswith("pos_embed_") and not re.match(r"norm\d", name)
    },
    decode=_decode_timm,
    encode=_encode_timm,
)


def _encode_mmpretrain(state: StateDict, *_) -> StateDict:
    return rename(state, r"norm\.", f"norm{_count_stages(state) - 1}.")


MMPRETRAIN_MVIT = Layout(
    "mmpretrain",
    ("patch_embed.projection.weight", "blocks.*.attn.qkv.weight"),
    names={
        name: name.replace("patch_embed.proj", "patch_embed.projection")
        for name in MVIT_NAMES
        if name != "cls_token" and not name.startswith("pos_embed_")
    },
    decode=_decode_authors,
    encode=_encode_mmpretrain,
)

_POSITIONS = "pos_encoding."


def _decode_torchvision(state: StateDict) -> StateDict:
    """Positions (C,) and (N, C) with the dimensions of one that ours have."""
    state = _drop_frames(state)
    for name in [n for n in state if n.startswith(_POSITIONS)]:
        state[name] = state[name].reshape(1, -1, state[name].shape[-1])
    return state


def _encode_torchvision(state: StateDict, *_) -> StateDict:
    """Kernels for one frame; positions without dimensions of one."""
    for name, tensor in state.items():
        if tensor.ndim == 4:
            state[name] = tensor.unsqueeze(2)
        elif name.startswith(_POSITIONS):
            state[name] = tensor.flatten() if "class" in name else tensor.flatten(0, 1)
    return state


# Its models are for video; ours go there as models of one frame. Those of version 2 have a class
# token and a table of distances in time, so that none is one of ours.
TORCHVISION_MVIT = Layout(
    "torchvision",
    ("blocks.*.attn.project.0.weight",),
    names={
        "cls_token": "pos_encoding.class_token",
        "pos_embed_spatial": "pos_encoding.spatial_pos",
        "pos_embed_temporal": "pos_encoding.temporal_pos",
        "pos_embed_class": "pos_encoding.class_pos",
        "patch_embed.proj.*": "conv_proj.*",
        "blocks.*.norm1.*": "blocks.*.norm1.*",
        "blocks.*.attn.qkv.*": "blocks.*.attn.qkv.*",
        "blocks.*.attn.proj.*": "blocks.*.attn.project.0.*",
        **{f"blocks.*.attn.pool_{p}.weight": f"blocks.*.attn.pool_{p}.pool.weight" for p in "qkv"},
        **{f"blocks.*.attn.norm_{p}.*": f"blocks.*.attn.pool_{p}.norm_act.0.*" for p in "qkv"},
        "blocks.*.norm2.*": "blocks.*.norm2.*",
        "blocks.*.mlp.fc1.*": "blocks.*.mlp.0.*",
        "blocks.*.mlp.fc2.*": "blocks.*.mlp.3.*",
        "blocks.*.proj.*": "blocks.*.project.*",
        "norm.*": "norm.*",
    },
    decode=_decode_torchvision,
    encode=_encode_torchvision,
)
