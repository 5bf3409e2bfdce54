"""What does not fit an encoder is refused in words that help, and leaves it as it was."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from tests.checkpoint.test_reading import EVIL_WRITERS, Evil
from tests.parity import randomize
from vit_backbones import UserError, build_backbone, load_checkpoint
from vit_backbones.checkpoint.finding import find_encoder
from vit_backbones.checkpoint.layouts.vit import MMPRETRAIN

Weights = dict[str, Tensor]
TINY = {
    "vit_b16": dict(embed_dims=32, depth=2, num_heads=2, patch_size=4, img_size=16),
    "swin_t": dict(embed_dims=32, depths=(1, 2), window_size=4),
    "swinv2_t": dict(embed_dims=32, depths=(1, 2), window_size=4),
    "mvitv2_t": dict(embed_dims=32, depths=(1, 2), img_size=64),
}
WIDER = {name: {**arch, "embed_dims": 64} for name, arch in TINY.items()}
DEEPER = {
    name: {**arch, "depth": 3} if name == "vit_b16" else {**arch, "depths": (1, 3)}
    for name, arch in TINY.items()
}


def tiny(name: str, **settings) -> nn.Module:
    return build_backbone(name, **{**TINY[name], **settings})


def zeros(name: str, **settings) -> nn.Module:
    """Of real size, without the time that random numbers take."""
    with torch.device("meta"):
        model = build_backbone(name, **settings)
    model.to_empty(device="cpu")
    for tensor in model.state_dict().values():
        tensor.zero_()
    return model


def weights(name: str, **settings) -> Weights:
    return {n: t.clone() for n, t in randomize(tiny(name, **settings), 1).state_dict().items()}


def refuse(model: nn.Module, source: Weights | Path, *words: str, **options) -> str:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_checkpoint(model, source, **options)
    for word in words:
        assert word in str(caught.value)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    assert not any(tensor.is_meta for tensor in after.values())
    return str(caught.value)


SAVERS: dict[str, Callable[[Weights, Path], None]] = {
    "pth": lambda state, path: torch.save({"state_dict": state}, path),
    "safetensors": lambda state, path: safetensors.torch.save_file(state, path),
}


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("name", TINY)
def test_truncated_anywhere(name, saver, tmp_path) -> None:
    model, path = tiny(name), tmp_path / f"weights.{saver}"
    SAVERS[saver](weights(name), path)
    data = path.read_bytes()
    for tenths in range(10):
        path.write_bytes(data[: len(data) * tenths // 10])
        refuse(model, path, str(path))
    path.write_bytes(data)
    assert not load_checkpoint(model, path, quiet=True).unfilled


@pytest.mark.parametrize("kind", EVIL_WRITERS)
@pytest.mark.parametrize("name", TINY)
def test_code_is_not_run(name, kind, tmp_path) -> None:
    trace, path = tmp_path / "was_here", tmp_path / "evil.pth"
    EVIL_WRITERS[kind]({**weights(name), "b": Evil(trace)}, path)
    refuse(tiny(name), path, str(path))
    assert not trace.exists()


@pytest.mark.parametrize("name", TINY)
def test_zip_bomb(name, tmp_path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(weights(name), tmp_path / "whole.pth")
    size = 120 * (tmp_path / "whole.pth").stat().st_size
    with (
        zipfile.ZipFile(tmp_path / "whole.pth") as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.namelist():
            bomb = member.endswith("data/0")
            new.writestr(member, bytes(size) if bomb else old.read(member))
    refuse(tiny(name), path, "unpack")


@pytest.mark.parametrize("other", TINY)
@pytest.mark.parametrize("name", TINY)
def test_another_model(name, other) -> None:
    if name == other:
        return
    message = refuse(tiny(name), weights(other))
    if name[:3] == other[:3]:  # Swin and Swin v2: of one type
        assert "does not fill" in message and "no place" in message


def test_a_file_without_an_encoder() -> None:
    state = {"layer1.0.conv1.weight": torch.zeros(3), "fc.weight": torch.zeros(2)}
    refuse(tiny("swin_t"), state, "layer1.0.conv1.weight", "known layouts", "torchvision", "timm")


@pytest.mark.parametrize("name", TINY)
def test_another_width(name) -> None:
    state = weights(name, **WIDER[name])
    refuse(tiny(name), state, "patch_embed.proj.weight", "(64, ", "(32, ", "width 64", "width 32")


@pytest.mark.parametrize("name", TINY)
def test_another_depth(name) -> None:
    blocks = 3 if name == "vit_b16" else 4
    deep, shallow = weights(name, **DEEPER[name]), weights(name)
    refuse(tiny(name), deep, "no place", f"{blocks} blocks")
    refuse(tiny(name, **DEEPER[name]), shallow, "does not fill")


@pytest.mark.parametrize("name", TINY)
def test_half_the_names(name) -> None:
    state = weights(name)
    for half in (list(state)[::2], list(state)[: len(state) // 2], list(state)[len(state) // 2 :]):
        message = refuse(tiny(name), {n: state[n] for n in half})
        assert "does not fill" in message or "no " in message


@pytest.mark.parametrize(
    "part",
    ["rel_pos_bias.relative_position_bias_table", "shared_rel_pos.mlp.fc1.weight", "rope.freqs"],
)
def test_positions_that_all_blocks_share(part) -> None:
    """BEiT's, timm's and learnt rotary ones: outside of the blocks, but part of what they do."""
    state = {**weights("vit_b16"), part: torch.ones(2, 2)}
    refuse(tiny("vit_b16"), state, part, "No encoder here has parts like")
    with pytest.raises(UserError, match="No encoder here has parts like"):
        find_encoder(state)


def test_parts_of_the_same_names_and_other_shapes() -> None:
    """Llama's w2 leads out of the MLP, DINOv3's into it."""
    state = weights("vit_b16")
    for i in range(2):
        for name, shape in (("w1", (64, 32)), ("w2", (32, 64)), ("w3", (64, 32))):
            state[f"blocks.{i}.mlp.{name}.weight"] = torch.ones(shape)
    refuse(tiny("vit_b16"), state, "blocks.0.mlp.w1.weight", "No encoder here has parts like")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", TINY)
def test_values_that_are_not_finite(name, value) -> None:
    state = weights(name)
    spoilt = list(state)[-3]
    state[spoilt].view(-1)[-1] = value
    refuse(tiny(name), state, spoilt, "NaN or infinite")


@pytest.mark.parametrize("name", TINY)
def test_a_part_is_loaded_where_that_is_wanted(name) -> None:
    """strict=False: the report says what stayed unfilled, which keeps its values."""
    state, model = weights(name), randomize(tiny(name))
    kept = {n: t.clone() for n, t in model.state_dict().items()}
    missing = [n for n in state if "blocks.0.mlp" in n]
    report = load_checkpoint(model, {n: state[n] for n in state if n not in missing}, strict=False)
    assert list(report.unfilled) == missing and set(report.unfilled.values()) == {"not in the file"}
    for n, tensor in model.state_dict().items():
        assert torch.equal(tensor, kept[n] if n in missing else state[n])
    report = load_checkpoint(model, weights(name, **WIDER[name]) | state, strict=False)
    assert not report.unfilled
    refuse(model, {"head.weight": torch.zeros(2)}, "known layout", strict=False)


@pytest.mark.parametrize(
    ("preset", "file", "words"),
    [
        ("vit_b16", "vit_s16", ["looks like vit_s16", "width 384, 12 blocks", "width 768"]),
        ("vit_b16", "deit3_b16", ["looks like deit3_b16"]),
        ("swin_t", "swin_s", ["looks like swin_s (width 96, 24 blocks)", "swin_t"]),
        ("swin_t", "swinv2_t", ["looks like swinv2_t"]),
        ("mvitv2_t", "mvitv2_s", ["looks like mvitv2_s (width 96, 16 blocks)", "mvitv2_t"]),
        ("swin_t", "vit_ti16", ["no SwinTransformer, but a VisionTransformer", "vit_ti16"]),
        ("vit_ti16", "mvitv2_t", ["no VisionTransformer, but a MViT", "mvitv2_t"]),
    ],
)
def test_the_likeliest_preset_is_named(preset, file, words) -> None:
    refuse(zeros(preset), zeros(file).state_dict(), *words)


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        (dict(pool_norm=True, final_norm=False), "pool_norm=True, final_norm=False"),
        (dict(layer_scale_init=0.1, qk_norm=True), "layer_scale_init=1.0, qk_norm=True"),
        (dict(qkv_bias=False), "qkv_bias=False"),
    ],
)
def test_settings_that_make_the_model_fit_are_named(settings, advice) -> None:
    out = dict(out_type="avg_featmap")
    model, state = tiny("vit_b16", **out), weights("vit_b16", **out, **settings)
    message = refuse(model, state, "Build the model with ")
    for setting in advice.split(", "):
        assert setting in message
    assert not load_checkpoint(tiny("vit_b16", **out, **settings), state, quiet=True).unfilled


def test_part_of_a_file() -> None:
    state = weights("mvitv2_t")
    del state["blocks.1.proj.bias"]
    refuse(tiny("mvitv2_t"), state, "1 of the", "blocks.1.proj.bias", "get the whole file")


def test_a_model_that_is_no_encoder() -> None:
    whole = nn.ModuleDict({"backbone": tiny("swin_t")})
    refuse(whole, weights("swin_t"), ".backbone")


def test_another_network_around_the_same_names() -> None:
    """BEiT's biases of positions, adapters, a ResNet before the patches: never left aside."""
    state = weights("vit_b16")
    beit = {**state, "blocks.0.attn.relative_position_bias_table": torch.zeros(9, 2)}
    refuse(tiny("vit_b16"), beit, "1 parameters for which the encoder has no place")
    for name in ("blocks.0.mlp.fc1.lora_A.default.weight", "patch_embed.backbone.stem.conv.weight"):
        refuse(tiny("vit_b16"), {**state, name: torch.zeros(1)}, f"parts like {name}", "merged")
    mm = MMPRETRAIN.from_native(state)
    for name in ("layers.1.gamma_1", "layers.0.ffn.adapter.weight"):
        refuse(tiny("vit_b16"), {**mm, name: torch.zeros(32)}, f"parts like {name}")
    with pytest.raises(UserError, match=r"parts like layers\.1\.gamma_1"):
        find_encoder({**mm, "layers.1.gamma_1": torch.zeros(32)})
    report = load_checkpoint(
        tiny("vit_b16"), {**mm, "layers.1.gamma_1": torch.zeros(32)}, strict=False
    )
    assert report.left["layers.1.gamma_1"] == "the model has no such part"


@pytest.mark.parametrize("name", ["last_norm.weight", "spm.stem.0.weight", "interactions.0.ls"])
def test_parts_outside_of_the_blocks(name) -> None:
    """ViTPose's final norm, ViT-Adapter's modules: not a plain ViT's output without them."""
    model = tiny("vit_b16", final_norm=False)
    state = weights("vit_b16", final_norm=False)
    refuse(model, {**state, name: torch.zeros(32)}, f"parts like {name}")


def test_heads_of_moco() -> None:
    """MoCo v3's ViT-S has 12, DeiT's of the same names and shapes 6."""
    model, twelve = zeros("vit_s16"), zeros("vit_s16", num_heads=12)
    state = model.state_dict()
    file = {f"module.base_encoder.{n}": t for n, t in state.items()}
    refuse(model, file, "12 heads", "num_heads=12")
    assert not find_encoder(file).encoders
    load_checkpoint(twelve, file, quiet=True)
    load_checkpoint(model, {f"module.{n}": t for n, t in state.items()}, quiet=True)


def test_a_hybrid_is_no_vit() -> None:
    state = weights("vit_b16")
    state["patch_embed.proj.weight"] = torch.zeros(32, 1024, 1, 1)
    refuse(tiny("vit_b16"), state, "1024 channels", "hybrid")
    with pytest.raises(UserError, match="hybrid"):
        find_encoder(state)


def test_other_kinds_of_numbers() -> None:
    model, state = tiny("vit_b16"), weights("vit_b16")
    name = "blocks.0.attn.proj.weight"
    refuse(model, {**state, name: state[name].to(torch.int8)}, "torch.int8", "quantized")
    refuse(model, {**state, name: state[name].to_sparse()}, name, "sparse", "dense")
    refuse(model, {**state, name: state[name].to(torch.complex64)}, name, "complex")
    for shape in ((32, 0, 4, 4), (32, 3, 0, 0), ()):
        refuse(model, {**state, "patch_embed.proj.weight": torch.zeros(shape)}, str(shape))
    half = {n: t.to(torch.float8_e4m3fn) for n, t in state.items()}
    load_checkpoint(model, half, quiet=True)
    assert torch.equal(model.state_dict()[name], half[name].float())


def test_foreign_networks_are_not_called_ours() -> None:
    """Blocks alone, of names like ours, make no encoder."""
    block = {f"blocks.0.{part}.weight": torch.zeros(8) for part in ("norm1", "norm2", "mlp.fc1")}
    message = refuse(tiny("swin_t"), {"stem.proj.weight": torch.zeros(8, 3, 4, 4), **block})
    assert "known layout" in message and "VisionTransformer" not in message
