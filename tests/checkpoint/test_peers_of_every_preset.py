"""Every preset by name and shape, without memory: the peers' models read, ours written and read."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from unittest.mock import patch

import pytest
import timm
import torch
import torchvision
import transformers
from torch import Tensor, nn
from transformers.core_model_loading import revert_weight_conversion

from tests.backbones.test_mvit_parity import torchvision_v1
from tests.test_presets import TIMM
from vit_backbones import build_backbone, list_backbones
from vit_backbones.backbones.presets import PRESETS
from vit_backbones.checkpoint.describe import likeliest_presets
from vit_backbones.checkpoint.layouts import TARGETS
from vit_backbones.checkpoint.recognition import identify, read_as

State = dict[str, Tensor]


@cache
def encoder(name: str) -> nn.Module:
    with torch.device("meta"):
        return build_backbone(name)


def shapes(state: State) -> dict[str, tuple[int, ...]]:
    """Without dimensions of one, which some have and some haven't."""
    return {name: tuple(n for n in t.shape if n > 1) for name, t in state.items()}


def timm_model(name: str) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name)


def torchvision_model(name: str) -> Callable[[], nn.Module]:
    return lambda: getattr(torchvision.models, name)()


def hf(kind: str, heads: int, **config) -> Callable[[], nn.Module]:
    """A base model of transformers; ``depth`` and ``width`` as in the presets."""
    depth, width = config.pop("depth"), config.pop("width")
    shared = dict(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=config.pop("hidden", 4 * width),
    )
    return lambda: getattr(transformers, f"{kind}Model")(
        getattr(transformers, f"{kind}Config")(**shared, **config)
    )


def hf_vitdet(heads: int, depth: int, width: int) -> Callable[[], nn.Module]:
    return hf(
        "VitDet",
        heads,
        depth=depth,
        width=width,
        image_size=1024,
        pretrain_image_size=224,
        window_block_indices=[i for i in range(depth) if (i + 1) % (depth // 4)],
        window_size=14,
        use_relative_position_embeddings=True,
    )


def hf_swin(version: int, name: str) -> Callable[[], nn.Module]:
    settings = PRESETS[name].settings
    kind = "Swin" if version == 1 else "Swinv2"
    config = dict(
        embed_dim=settings["embed_dims"],
        depths=list(settings["depths"]),
        num_heads=[settings["embed_dims"] * 2**i // 32 for i in range(4)],
        window_size=settings.get("window_size", 7),
        image_size=settings.get("window_size", 7) * 32,
    )
    return lambda: getattr(transformers, f"{kind}Model")(
        getattr(transformers, f"{kind}Config")(**config)
    )


def mmpretrain_model(kind: str, **settings) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from mmpretrain.models import backbones

        with patch("torch.linspace", partial(torch.linspace, device="cpu")):  # it reads numbers
            return getattr(backbones, kind)(**settings)

    return make


# preset -> models of the peers that have its parameters
PEERS: list[tuple[str, str, Callable[[], nn.Module]]] = [
    *((preset, "timm", timm_model(name)) for preset, name in TIMM.items()),
    *(
        (n, "torchvision", torchvision_model(n.replace("16", "_16").replace("32", "_32")))
        for n in ("vit_b16", "vit_b32", "vit_l16", "vit_l32")
    ),
    ("vit_h14", "torchvision", torchvision_model("vit_h_14")),
    *((f"swin_{n}", "torchvision", torchvision_model(f"swin_{n}")) for n in "tsb"),
    *((f"swinv2_{n}", "torchvision", torchvision_model(f"swin_v2_{n}")) for n in "tsb"),
    ("vit_b16", "huggingface", hf("ViT", 12, depth=12, width=768)),
    ("deit_ti16", "mmpretrain", mmpretrain_model("VisionTransformer", arch="deit-t")),
    ("deit3_l16", "mmpretrain", mmpretrain_model("DeiT3", arch="l")),
    (
        "dinov2_g14",
        "mmpretrain",
        mmpretrain_model(
            "VisionTransformer",
            arch="dinov2-g",
            img_size=518,
            patch_size=14,
            layer_scale_init_value=1.0,
            layer_cfgs=dict(ffn_type="swiglu_fused"),
        ),
    ),
    ("clip_b16", "mmpretrain", mmpretrain_model("VisionTransformer", arch="b", pre_norm=True)),
    ("mvit_b16", "torchvision", lambda: torchvision_v1(settings={})),
    ("mae_l16", "huggingface", hf("ViTMAE", 16, depth=24, width=1024)),
    (
        "dinov2_g14",
        "huggingface",
        hf("Dinov2", 24, depth=40, width=1536, patch_size=14, image_size=518, use_swiglu_ffn=True),
    ),
    (
        "dinov2_l14_reg",
        "huggingface",
        hf("Dinov2WithRegisters", 16, depth=24, width=1024, patch_size=14, image_size=518),
    ),
    ("dinov3_l16", "huggingface", hf("DINOv3ViT", 16, depth=24, width=1024, num_register_tokens=4)),
    (
        "dinov3_hplus16",
        "huggingface",
        hf(
            "DINOv3ViT",
            20,
            depth=32,
            width=1280,
            hidden=5120,
            num_register_tokens=4,
            use_gated_mlp=True,
        ),
    ),
    (
        "clip_l14_336",
        "huggingface",
        hf("CLIPVision", 16, depth=24, width=1024, patch_size=14, image_size=336),
    ),
    *(
        (f"vitdet_{n}", "huggingface", hf_vitdet(*settings))
        for n, *settings in (("b", 12, 12, 768), ("l", 16, 24, 1024), ("h", 16, 32, 1280))
    ),
    *((f"swin_{n}", "huggingface", hf_swin(1, f"swin_{n}")) for n in "tsbl"),
    *((f"swinv2_{n}", "huggingface", hf_swin(2, f"swinv2_{n}")) for n in "tsbl"),
    *(
        (f"swin_{n[0]}", "mmpretrain", mmpretrain_model("SwinTransformer", arch=n))
        for n in ("tiny", "small", "base", "large")
    ),
    *(
        (
            f"swinv2_{n[0]}",
            "mmpretrain",
            mmpretrain_model("SwinTransformerV2", arch=n, img_size=256, window_size=[8] * 4),
        )
        for n in ("tiny", "small", "base")
    ),
    *(
        (
            f"mvitv2_{n[0]}",
            "mmpretrain",
            mmpretrain_model("MViT", arch=n, dim_mul_in_attention=n != "large"),
        )
        for n in ("tiny", "small", "base", "large")
    ),
]


@pytest.mark.parametrize(
    ("preset", "project", "make"), PEERS, ids=[f"{project} {name}" for name, project, _ in PEERS]
)
def test_peers(preset, project, make) -> None:
    """Names and shapes of the peer's model become those of the preset, and the other way."""
    with torch.device("meta"):
        peer = make()
    theirs = peer.state_dict()
    if project == "huggingface":  # what save_pretrained would write
        theirs = revert_weight_conversion(peer, theirs)
    model = encoder(preset)
    own = model.state_dict()
    reading = read_as(type(model).__name__, own, theirs)
    native = shapes(reading.native)
    if project == "mmpretrain":  # numbers the final norm, too; the model itself knows it so
        native = {name.replace("norm3.", "norm."): shape for name, shape in native.items()}
    for name, shape in shapes(own).items():
        resized = name == "pos_embed" or ".rel_pos_" in name
        assert native[name] == shape or (resized and native[name][-1] == shape[-1]), name
    assert identify(theirs).type == type(model).__name__
    assert preset in likeliest_presets(type(model).__name__, reading.native)
    written = next(x for x in TARGETS[project][type(model).__name__] if x.holds(own))
    expected = shapes(theirs)
    for name, shape in shapes(written.from_native(dict(own))).items():
        assert expected[name] == shape or "pos" in name, name


def test_every_preset_has_a_peer() -> None:
    assert {name for name, _, _ in PEERS} == set(list_backbones())
