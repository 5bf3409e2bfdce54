"""Plain ViTs in the forms in which projects publish them: whole models, wrapped, in Google's
names."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
import transformers
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from tests.backbones.vit_peers import (
    BICUBIC,
    DEPTH,
    DIM,
    HEADS,
    HF,
    PATCH,
    SIZE,
    TIMM,
    TIMM_RESIZES,
    WINDOW,
    ours,
    torchvision_pair,
)
from tests.parity import assert_alive, random_images, randomize, relative_error
from vit_backbones import VisionTransformer, load_checkpoint
from vit_backbones.checkpoint.layouts.vit_openai import OPENAI_CLIP


def assert_same_outputs(
    model: VisionTransformer, run: Callable[[Tensor], Tensor], size: int = SIZE
) -> None:
    images = random_images(2, size, size)
    with torch.no_grad():
        a, b = model.eval()(images)[0], run(images)
    assert_alive(b)
    assert relative_error(a, b) < 1e-5


def test_torchvision(tmp_path) -> None:
    """Of the published files' names, too."""
    pair = torchvision_pair()
    state = randomize(pair.peer).eval().state_dict()
    torch.save(state, tmp_path / "vit.pth")
    report = load_checkpoint(pair.model, tmp_path / "vit.pth")
    assert set(report.left) == {"heads.head.weight", "heads.head.bias"}
    assert_same_outputs(pair.model, lambda x: pair.run(x)[0])
    names = {"mlp.0": "mlp.linear_1", "mlp.3": "mlp.linear_2"}
    for new, old in names.items():
        state = {name.replace(new, old): tensor for name, tensor in state.items()}
    pair.peer.load_state_dict(state)  # it reads them, too
    pair = torchvision_pair()
    load_checkpoint(pair.model, state)
    pair.peer.load_state_dict(state)
    assert_same_outputs(pair.model, lambda x: pair.run(x)[0])


def hf(kind: str, config: str, **settings) -> nn.Module:
    config = getattr(transformers, config)(**{**HF, **settings})
    return randomize(getattr(transformers, kind)(config)).eval()


def last(peer: nn.Module, **options) -> Callable[[Tensor], Tensor]:
    return lambda images: peer(images, **options).last_hidden_state


def feature_map(peer: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda images: peer(images).feature_maps[-1]


CLIP_TEXT = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=DEPTH,  # as many as the images' tower has
    num_attention_heads=2,
    vocab_size=9,
    max_position_embeddings=(SIZE // PATCH) ** 2 + 1,
)


def hf_vit():
    peer = hf("ViTForImageClassification", "ViTConfig", layer_norm_eps=1e-6)
    return peer, ours("vit_b16", pos_interpolation=BICUBIC), last(peer.vit)


def hf_dinov2():
    peer = hf("Dinov2ForImageClassification", "Dinov2Config")
    return peer, ours("dinov2_s14"), last(peer.dinov2)


def hf_dinov2_registers():
    name = "Dinov2WithRegisters"
    peer = hf(f"{name}ForImageClassification", f"{name}Config")
    return peer, ours("dinov2_s14_reg"), last(peer.dinov2_with_registers)


def hf_mae():
    settings = dict(
        layer_norm_eps=1e-6,
        mask_ratio=0.0,
        decoder_hidden_size=DIM,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=64,
        decoder_num_hidden_layers=DEPTH,
    )
    peer = hf("ViTMAEForPreTraining", "ViTMAEConfig", **settings)
    order = torch.arange((SIZE // PATCH) ** 2).expand(2, -1)
    return peer, ours("mae_b16"), last(peer.vit, noise=order)


def hf_clip():
    config = transformers.CLIPConfig(
        vision_config={**HF, "hidden_act": "quick_gelu"}, text_config=CLIP_TEXT
    )
    peer = randomize(transformers.CLIPModel(config)).eval()
    tower = peer.vision_model
    run = lambda x: tower.post_layernorm(tower(x).last_hidden_state)  # noqa: E731
    return peer, ours("clip_b16"), run


def hf_siglip():
    peer = hf("SiglipVisionModel", "SiglipVisionConfig", hidden_act="gelu_pytorch_tanh")
    return peer, ours("vit_b16", cls_token=False, mlp="gelu_tanh"), last(peer)


def hf_vitdet_backbone():
    settings = dict(
        image_size=2 * SIZE,
        pretrain_image_size=SIZE,
        window_block_indices=[0, 2],
        window_size=3,
        use_relative_position_embeddings=True,
    )
    peer = hf("VitDetBackbone", "VitDetConfig", **settings)
    model = ours(
        "vitdet_b",
        img_size=2 * SIZE,
        pretrain_img_size=SIZE,
        attention=(WINDOW, "global", WINDOW),
        out_type="featmap",
    )
    return peer, model, feature_map(peer)


def hf_dinov2_backbone():
    peer = hf("Dinov2Backbone", "Dinov2Config")
    return peer, ours("dinov2_s14", out_type="featmap"), feature_map(peer)


def hf_dinov3_backbone():
    peer = hf("DINOv3ViTBackbone", "DINOv3ViTConfig", num_register_tokens=4)
    return peer, ours("dinov3_s16", out_type="featmap"), feature_map(peer)


HF_MODELS = [
    hf_vit,
    hf_dinov2,
    hf_dinov2_registers,
    hf_mae,
    hf_clip,
    hf_siglip,
    hf_vitdet_backbone,
    hf_dinov2_backbone,
    hf_dinov3_backbone,
]


@pytest.mark.parametrize("in_memory", [False, True], ids=["file", "memory"])
@pytest.mark.parametrize("make", HF_MODELS)
def test_whole_models_of_transformers(make, in_memory, tmp_path) -> None:
    peer, model, run = make()
    peer.save_pretrained(tmp_path)
    report = load_checkpoint(model, peer.state_dict() if in_memory else tmp_path)
    assert not report.unfilled
    assert_same_outputs(model, run)


@pytest.mark.parametrize("project", ["transformers", "timm"])
def test_deit_without_its_distillation_token(project) -> None:
    """The token and its position, the second, are left out; nothing else changes."""
    if project == "timm":
        state = timm.create_model("deit_base_distilled_patch16_224", **TIMM).state_dict()
        positions = state["pos_embed"]
    else:
        peer = hf("DeiTForImageClassification", "DeiTConfig")
        state = peer.state_dict()
        positions = state["deit.embeddings.position_embeddings"]
    model = ours("deit_b16")
    report = load_checkpoint(model, state)
    assert not report.unfilled
    assert torch.equal(model.pos_embed, torch.cat([positions[:, :1], positions[:, 2:]], dim=1))
    assert "the encoder has no distillation token" in report.left.values()


@pytest.mark.parametrize("name", ["vit_so150m2_patch16_reg1_gap_256", "test_vit2"])
def test_registers_with_positions_of_their_own(name) -> None:
    """timm's without a class token: they are added to the registers."""
    peer = randomize(timm.create_model(name, num_classes=0, **TIMM)).eval()
    model = ours("vit_b16", cls_token=False, num_registers=1, **of_peer(peer))
    assert not load_checkpoint(model, peer.state_dict()).unfilled
    assert_same_outputs(model, lambda x: peer.forward_features(x)[:, 1:].mean(1))


def of_peer(peer: nn.Module) -> dict:
    """Settings that timm's models differ in."""
    block = peer.blocks[0]
    scaled = dict(layer_scale_init=1.0) if hasattr(block.ls1, "gamma") else {}
    return scaled | dict(
        mlp_ratio=block.mlp.fc1.out_features / DIM,
        norm_eps=block.norm1.eps,
        qkv_bias=block.attn.qkv.bias is not None,
        out_type="avg_featmap",
        final_norm=isinstance(peer.fc_norm, nn.Identity),
    )


def test_clip_towers_of_open_clip() -> None:
    """With LayerScale; and CLIPA's, without a norm before the blocks, and no bias of patches."""
    source = randomize(ours("clip_b16", pre_norm=False, layer_scale_init=0.1))
    with torch.no_grad():
        source.patch_embed.proj.bias.zero_()
    state = OPENAI_CLIP.from_native(source.state_dict())
    del state["conv1.bias"]
    for ours_name in [n for n in state if n.endswith(".gamma")]:
        block, layer = ours_name.split(".")[1:3]
        number = {"ls1": "ls_1", "ls2": "ls_2"}[layer]
        state[f"transformer.resblocks.{block}.{number}.gamma"] = state.pop(ours_name)
    model = ours("clip_b16", pre_norm=False, layer_scale_init=0.1)
    assert not load_checkpoint(model, {f"visual.{n}": t for n, t in state.items()}).unfilled
    assert_same_outputs(model, lambda x: source.eval()(x)[0])


@pytest.mark.parametrize("name", ["eva_giant_patch14_224", "eva_large_patch14_196"])
def test_eva(name) -> None:
    """The two of the family that are plain ViTs, with two biases in place of three."""
    peer = randomize(timm.create_model(name, num_classes=3, **{**TIMM, "mlp_ratio": 4})).eval()
    settings = dict(out_type="avg_featmap", pool_norm=True, final_norm=False)
    model = ours("vit_b16", pos_interpolation=TIMM_RESIZES, **settings)
    report = load_checkpoint(model, peer.state_dict())
    assert not report.unfilled and set(report.left) == {"head.weight", "head.bias"}
    assert_same_outputs(model, lambda x: peer.forward_head(peer.forward_features(x), True))


def test_siglip_of_timm() -> None:
    peer = randomize(timm.create_model("vit_base_patch16_siglip_224", num_classes=0, **TIMM))
    model = ours("vit_b16", cls_token=False)
    report = load_checkpoint(model, peer.eval().state_dict())
    assert not report.unfilled and all(name.startswith("attn_pool.") for name in report.left)
    assert_same_outputs(model, peer.forward_features)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": prefixed("module.", s)}])
def test_openai_and_open_clip(wrap) -> None:
    """timm's reader of their files is the reference. Their text towers have the same names."""
    source = randomize(ours("clip_b16"))
    state = OPENAI_CLIP.from_native(source.state_dict())
    state["class_embedding"] = state["class_embedding"].flatten()
    state["positional_embedding"] = state["positional_embedding"][0]
    state["proj"] = torch.zeros(DIM, 8)
    text = {"token_embedding.weight": (9, 8), "transformer.resblocks.0.ln_1.weight": (8,)}
    state = prefixed("visual.", state) | {name: torch.ones(s) for name, s in text.items()}
    peer = timm.create_model("vit_base_patch16_clip_quickgelu_224", num_classes=0, **TIMM).eval()
    read = checkpoint_filter_fn(dict(state), peer)
    peer.load_state_dict({n: t for n, t in read.items() if not n.startswith("head")})
    model = ours("clip_b16", pos_interpolation=TIMM_RESIZES)
    report = load_checkpoint(model, wrap(state))
    assert report.layout == "OpenAI CLIP" and not report.unfilled
    assert_same_outputs(model, peer.forward_features)


def prefixed(prefix: str, state: dict) -> dict:
    return {prefix + name: value for name, value in state.items()}


def google_arrays(peer: nn.Module, kind: str) -> dict[str, np.ndarray]:
    """Weights of timm's ViT in the names and axes of flax: 'vision_transformer', 'big_vision', or
    big_vision's 'scan', one array for all blocks; 'fused': heads and their width in one axis."""
    state = {name: tensor.numpy() for name, tensor in peer.state_dict().items()}
    big = kind != "vision_transformer"
    norm, attention, mlp = (
        f"{name}_{0 if big and name != 'LayerNorm' else count}"
        for name, count in (
            ("LayerNorm", 1 if big else 2),
            ("MultiHeadDotProductAttention", 1),
            ("MlpBlock", 3),
        )
    )
    heads = (HEADS, DIM // HEADS) if kind != "fused" else (DIM,)
    arrays = {
        "embedding/kernel": state["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": state["patch_embed.proj.bias"],
        "cls": state["cls_token"],
        "pos_embedding" if big else "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "head/kernel": state["head.weight"].T,
        "head/bias": state["head.bias"],
    }
    blocks = []
    for i in range(DEPTH):
        own = {n.removeprefix(f"blocks.{i}."): a for n, a in state.items() if f"blocks.{i}." in n}
        block = {}
        for theirs, name in (("LayerNorm_0", "norm1"), (norm, "norm2")):
            block[f"{theirs}/scale"] = own[f"{name}.weight"]
            block[f"{theirs}/bias"] = own[f"{name}.bias"]
        weights = np.split(own["attn.qkv.weight"], 3)
        biases = np.split(own["attn.qkv.bias"], 3)
        for part, weight, bias in zip(("query", "key", "value"), weights, biases):
            block[f"{attention}/{part}/kernel"] = weight.T.reshape(DIM, *heads)
            block[f"{attention}/{part}/bias"] = bias.reshape(heads)
        block[f"{attention}/out/kernel"] = own["attn.proj.weight"].T.reshape(*heads, DIM)
        block[f"{attention}/out/bias"] = own["attn.proj.bias"]
        for j in (0, 1):
            block[f"{mlp}/Dense_{j}/kernel"] = own[f"mlp.fc{j + 1}.weight"].T
            block[f"{mlp}/Dense_{j}/bias"] = own[f"mlp.fc{j + 1}.bias"]
        blocks.append(block)
    for name in blocks[0]:
        if kind == "scan":
            arrays[f"Transformer/encoderblock/{name}"] = np.stack([b[name] for b in blocks])
        else:
            for i, block in enumerate(blocks):
                arrays[f"Transformer/encoderblock_{i}/{name}"] = block[name]
    return arrays


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [
        ("vision_transformer", ""),
        ("vision_transformer", "opt/target/"),
        ("big_vision", "params/"),
        ("big_vision", "params/img/"),
        ("scan", "params/img/"),
        ("fused", "params/"),
    ],
)
def test_google(kind, prefix, tmp_path) -> None:
    """timm's reader of their files is the reference, but for heads in one axis, which it can't
    read."""
    source, peer = (timm.create_model("vit_base_patch16_224", num_classes=3, **TIMM) for _ in "12")
    path = tmp_path / "vit.npz"
    np.savez(path, **prefixed(prefix, google_arrays(randomize(source), kind)))
    if kind == "fused":
        peer = source
    else:
        peer.load_pretrained(str(path))
    model = ours("vit_b16", pos_interpolation=TIMM_RESIZES)
    report = load_checkpoint(model, path)
    assert (report.layout, report.prefix) == ("Google", prefix) and not report.unfilled
    assert_same_outputs(model, peer.eval().forward_features)


WRAPPINGS = {
    "DINO": lambda good, other: {
        "student": prefixed("module.backbone.", other) | {"module.head.mlp.0.weight": ONE},
        "teacher": prefixed("backbone.", good) | {"head.mlp.0.weight": ONE},
        "args": argparse.Namespace(arch="vit_small"),
        "epoch": 100,
    },
    "DINOv2, blocks in chunks": lambda good, other: {
        "teacher": prefixed("backbone.", chunked(good)) | {"dino_head.last_layer.weight": ONE}
    },
    "MAE": lambda good, other: {
        "model": {**good, "mask_token": ONE, **prefixed("decoder_", other)}
    },
    "I-JEPA": lambda good, other: {
        "encoder": prefixed("module.", other),
        "target_encoder": prefixed("module.", good),
        "opt": {"state": {}},
    },
    "timm, average": lambda good, other: {"state_dict": other, "state_dict_ema": good},
    "average beside": lambda good, other: {"model": other, "model_ema": prefixed("module.", good)},
    "mmengine": lambda good, other: {
        "state_dict": prefixed("backbone.", good) | {"head.layers.head.weight": ONE},
        "ema_state_dict": prefixed("module.backbone.", other),
    },
    "teacher and student of a detector": lambda good, other: {
        "state_dict": prefixed("student.backbone.", other) | prefixed("teacher.backbone.", good)
    },
    "MoCo v3": lambda good, other: {
        "state_dict": prefixed("module.base_encoder.", good)
        | prefixed("module.momentum_encoder.", other)
    },
    "compiled": lambda good, other: prefixed("_orig_mod.", good),
    "compiled inside": lambda good, other: prefixed(
        "module.encoder.",
        {n.replace("blocks.0.", "blocks.0._orig_mod."): t for n, t in good.items()},
    ),
    "Lightning": lambda good, other: {
        "state_dict": prefixed("model.encoder.", good),
        "pytorch-lightning_version": "2.5",
    },
}
ONE = torch.ones(1)


def chunked(state: dict) -> dict:
    return {n.replace("blocks.", f"blocks.{i % 2}."): t for i, (n, t) in enumerate(state.items())}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_wrapped(name, tmp_path) -> None:
    """The teacher, or the average, of several copies."""
    good = randomize(ours("vit_b16"), 1).state_dict()
    other = randomize(ours("vit_b16"), 2).state_dict()
    torch.save(WRAPPINGS[name](good, other), tmp_path / "a.pth")
    model = ours("vit_b16")
    report = load_checkpoint(model, tmp_path / "a.pth")
    assert not report.unfilled
    assert all(torch.equal(tensor, good[n]) for n, tensor in model.state_dict().items())


def test_detectron2(tmp_path) -> None:
    """A pickle of arrays, as its model zoo has them."""
    settings = dict(
        pretrain_img_size=SIZE, attention=(WINDOW, "global", WINDOW), out_type="featmap"
    )
    source, model = (ours("vitdet_b", **settings) for _ in range(2))
    state = prefixed("backbone.net.", randomize(source).state_dict())
    state["backbone.simfp_2.0.weight"] = torch.zeros(2)
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    content = {"model": arrays, "__author__": "someone", "matching_heuristics": True}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    report = load_checkpoint(model, tmp_path / "a.pkl")
    assert report.prefix == "backbone.net." and not report.unfilled
    assert_same_outputs(model, lambda x: source.eval()(x)[0])


@pytest.mark.parametrize("patch_bias", [False, True])
def test_mmseg(patch_bias) -> None:
    """Its ViT has PyTorch's own attention, and by default no bias in the patch embedding."""
    from mmseg.models.backbones import VisionTransformer as MMSegViT

    peer = MMSegViT(
        img_size=(SIZE, SIZE),
        patch_size=PATCH,
        embed_dims=DIM,
        num_layers=DEPTH,
        num_heads=HEADS,
        out_indices=(DEPTH - 1,),
        final_norm=True,
        patch_bias=patch_bias,
        norm_cfg=dict(type="LN", eps=1e-6),
    )
    randomize(peer).eval()
    model = ours("vit_b16", out_type="featmap", pos_interpolation=BICUBIC)
    report = load_checkpoint(model, prefixed("backbone.", peer.state_dict()))
    assert report.layout == "mmpretrain" and not report.unfilled
    assert_same_outputs(model, lambda x: peer(x)[0])
