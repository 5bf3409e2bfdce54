"""Names of CLIP's vision towers."""

from __future__ import annotations

from .layout import Layout, StateDict


def _with_patch_bias(state: StateDict) -> StateDict:
    """CLIP's patches have no bias. CLIPA's have none either, and no norm before the blocks: ours
    has a bias then, of zero."""
    kernel = state.get("conv1.weight")
    if kernel is not None and "conv1.bias" not in state and "ln_pre.weight" not in state:
        state["conv1.bias"] = kernel.new_zeros(len(kernel))
    return state


# vision towers of CLIP: OpenAI's names, which open_clip shares
OPENAI_CLIP = Layout(
    "OpenAI CLIP",
    ("conv1.weight", "transformer.resblocks.*.ln_1.weight"),
    names={
        "cls_token": "class_embedding",
        "pos_embed": "positional_embedding",
        "patch_embed.proj.*": "conv1.*",
        "norm_pre.*": "ln_pre.*",
        "blocks.*.norm1.*": "transformer.resblocks.*.ln_1.*",
        "blocks.*.attn.qkv.*": "transformer.resblocks.*.attn.in_proj_*",
        "blocks.*.attn.proj.*": "transformer.resblocks.*.attn.out_proj.*",
        "blocks.*.norm2.*": "transformer.resblocks.*.ln_2.*",
        "blocks.*.mlp.fc1.*": "transformer.resblocks.*.mlp.c_fc.*",
        "blocks.*.mlp.fc2.*": "transformer.resblocks.*.mlp.c_proj.*",
        "norm.*": "ln_post.*",
    },
    aliases=[  # open_clip's LayerScale
        ("blocks.*.ls1.gamma", "transformer.resblocks.*.ls_1.gamma"),
        ("blocks.*.ls2.gamma", "transformer.resblocks.*.ls_2.gamma"),
    ],
    decode=_with_patch_bias,
)
