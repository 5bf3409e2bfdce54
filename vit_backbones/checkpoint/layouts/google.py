"""Google's JAX ViTs (vision_transformer, big_vision): names with slashes, kernels turned round."""

from __future__ import annotations

import re

from torch import Tensor

from .layout import Layout, StateDict

# flax numbers modules in the order of their creation: big_vision counts each kind by itself,
# vision_transformer all of them together
_NUMBERS = {
    "MultiHeadDotProductAttention_1": "MultiHeadDotProductAttention_0",
    "LayerNorm_2": "LayerNorm_1",
    "MlpBlock_3": "MlpBlock_0",
}


def _decode(state: StateDict) -> StateDict:
    """Slashes to dots, flax's axes to torch's."""
    decoded = {}
    for name, tensor in _unstack(state).items():
        if name.startswith("Transformer/encoderblock_"):
            for old, new in _NUMBERS.items():
                name = name.replace(f"/{old}/", f"/{new}/")
        if name.endswith("/kernel"):
            tensor = _turn_kernel(name, tensor)
        elif name.endswith("/bias"):
            tensor = tensor.flatten()  # of heads
        decoded[name.replace("/", ".")] = tensor
    return decoded


def _unstack(state: StateDict) -> StateDict:
    """big_vision's scanned blocks, one tensor for all of them, as one tensor per block."""
    single = {}
    for name, tensor in state.items():
        if name.startswith("Transformer/encoderblock/"):
            for i, part in enumerate(tensor):
                single[name.replace("encoderblock/", f"encoderblock_{i}/")] = part
        else:
            single[name] = tensor
    return single


def _turn_kernel(name: str, kernel: Tensor) -> Tensor:
    if kernel.ndim == 4:  # convolution: height, width, in, out
        return kernel.permute(3, 2, 0, 1).contiguous()
    if re.search(r"/(query|key|value)/kernel$", name):  # in, heads, head width
        return kernel.flatten(1).T.contiguous()
    return kernel.flatten(0, -2).T.contiguous()  # in (or heads, head width), out


_BLOCK = "Transformer.encoderblock_*."
_ATTENTION = _BLOCK + "MultiHeadDotProductAttention_0."


def _linear(ours: str, theirs: str | tuple[str, ...]) -> dict[str, str | tuple[str, ...]]:
    """Rules for a weight and a bias."""
    parts = (theirs,) if isinstance(theirs, str) else theirs
    names = [tuple(f"{part}.{end}" for part in parts) for end in ("kernel", "bias")]
    weight, bias = (n[0] if len(n) == 1 else n for n in names)
    return {f"{ours}.weight": weight, f"{ours}.bias": bias}


def _norm(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.weight": f"{theirs}.scale", f"{ours}.bias": f"{theirs}.bias"}


GOOGLE = Layout(
    "Google",
    (
        "embedding/kernel",
        "Transformer/encoderblock_*/LayerNorm_0/scale",
        "Transformer/encoderblock/LayerNorm_0/scale",
    ),
    names={
        "cls_token": "cls",
        "pos_embed": "Transformer.posembed_input.pos_embedding",
        **_linear("patch_embed.proj", "embedding"),
        **_norm("blocks.*.norm1", _BLOCK + "LayerNorm_0"),
        **_linear(
            "blocks.*.attn.qkv", tuple(_ATTENTION + part for part in ("query", "key", "value"))
        ),
        **_linear("blocks.*.attn.proj", _ATTENTION + "out"),
        **_norm("blocks.*.norm2", _BLOCK + "LayerNorm_1"),
        **_linear("blocks.*.mlp.fc1", _BLOCK + "MlpBlock_0.Dense_0"),
        **_linear("blocks.*.mlp.fc2", _BLOCK + "MlpBlock_0.Dense_1"),
        **_norm("norm", "Transformer.encoder_norm"),
    },
    aliases=[("pos_embed", "pos_embedding")],  # big_vision
    decode=_decode,
)
