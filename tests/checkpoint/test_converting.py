"""Every family to every library that has it: its own loader reads our file, and gives our
features."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.checkpoint.families import TINY, assert_same_features, build_like, images_for, tiny
from tests.parity import randomize, relative_error
from vit_backbones import UserError, build_backbone, load_checkpoint
from vit_backbones.backbones.base import Backbone
from vit_backbones.checkpoint.converting import Conversion, convert
from vit_backbones.checkpoint.finding import find_encoder
from vit_backbones.checkpoint.peers import TARGETS
from vit_backbones.checkpoint.preprocessing import Preprocessing, of_preset
from vit_backbones.checkpoint.writing import new_folder

# Who has the family's model; everybody else has no place for it, and says what for.
EVERYBODY = {"native", "timm", "mmpretrain", "torchvision", "huggingface"}
HAVE = {
    "vit_b16": EVERYBODY,
    "deit3_s16": {"native", "timm", "mmpretrain", "huggingface"},
    "mae_b16": EVERYBODY,
    "dino_s16": EVERYBODY,
    "dinov2_s14": {"native", "timm", "mmpretrain", "huggingface"},
    "dinov2_g14": {"native", "timm", "mmpretrain", "huggingface"},
    "dinov2_s14_reg": {"native", "timm", "huggingface"},
    "dinov3_s16": {"native", "timm", "huggingface"},
    "dinov3_splus16": {"native", "timm", "huggingface"},
    "clip_b16": {"native", "timm", "huggingface"},
    "vitdet_b": {"native", "timm", "mmpretrain", "huggingface"},
    "swin_t": {*EVERYBODY, "mmdet"},
    "swinv2_t": EVERYBODY,
    "mvit_b16": {"native", "torchvision"},
    "mvitv2_t": {"native", "timm", "mmpretrain"},
    "mvitv2_l": {"native", "timm", "mmpretrain"},
}
PAIRS = [(name, target) for name in TINY for target in TARGETS]
PREPROCESSING = Preprocessing(size=(16, 16), mean=(0.5,) * 3, std=(0.25,) * 3)


def write(encoder: Backbone, path: Path, target: str) -> Conversion:
    return convert(encoder.state_dict(), path, target, encoder=encoder, preprocessing=PREPROCESSING)


def run(code: str, images: torch.Tensor) -> torch.Tensor:
    scope = dict(images=images)
    with torch.no_grad():
        exec(code, scope)
    return scope["features"]


@pytest.mark.parametrize(("name", "target"), [p for p in PAIRS if p[1] in HAVE[p[0]]])
def test_the_code_that_is_printed_loads_the_file(name, target, tmp_path) -> None:
    encoder = tiny(name)
    path = tmp_path / ("folder" if target == "huggingface" else "file.pth")
    done = convert(
        encoder.state_dict(), path, target, encoder=tiny(name), preprocessing=PREPROCESSING
    )
    images = images_for(encoder)
    assert_same_features(encoder, run(done.code, images), images)


@pytest.mark.parametrize("target", ["timm", "mmpretrain"])
def test_patches_and_norms_unlike_the_presets(target, tmp_path) -> None:
    encoder = tiny("mvitv2_t", patch_kernel=3, patch_stride=2, norm_eps=1e-2)
    images = images_for(encoder)
    done = write(encoder, tmp_path / "file.pth", target)
    assert_same_features(encoder, run(done.code, images), images)


@pytest.mark.parametrize(("name", "target"), [p for p in PAIRS if p[1] in HAVE[p[0]]])
def test_there_and_back_no_bit_changes(name, target, tmp_path) -> None:
    encoder, back = tiny(name), build_like(name)
    path = tmp_path / ("folder" if target == "huggingface" else "file.safetensors")
    convert(encoder.state_dict(), path, target, encoder=tiny(name), preprocessing=PREPROCESSING)
    assert find_encoder(path).type == type(encoder).__name__  # by the file alone
    assert find_encoder({"state_dict": encoder.state_dict()}).type == type(encoder).__name__
    assert not load_checkpoint(back, path, quiet=True).unfilled
    own, found = encoder.state_dict(), back.state_dict()
    if (name, target) == ("dinov2_s14_reg", "timm"):  # which has the sum of these two alone
        own["cls_token"] = own["cls_token"] + own["pos_embed"][:, :1]
        own["pos_embed"][:, :1] = 0
    for key, value in own.items():
        assert torch.equal(found[key], value), key


@pytest.mark.parametrize(("name", "target"), [p for p in PAIRS if p[1] not in HAVE[p[0]]])
def test_who_has_no_such_model_says_so(name, target, tmp_path) -> None:
    encoder = tiny(name)
    with pytest.raises(UserError, match=f"^{target} has no "):
        write(encoder, tmp_path / "file.pth", target)
    assert not list(tmp_path.iterdir())


def test_what_is_left_aside_is_said(tmp_path) -> None:
    """Of a whole detector, of which nothing is known."""
    encoder = tiny("swin_t")
    state = {f"backbone.{n}": t for n, t in encoder.state_dict().items()}
    state |= {"neck.convs.0.weight": torch.ones(2), "bbox_head.cls.bias": torch.ones(3)}
    done = convert(state, tmp_path / "swin.pth", "timm")
    assert done.found.left == {
        "neck.convs.0.weight": "not part of the encoder",
        "bbox_head.cls.bias": "not part of the encoder",
    }
    assert done.code is None  # the number of heads is not known


def test_a_detector_norms_of_all_outputs(tmp_path) -> None:
    """SwinBackbone puts out all of them, AutoModel the last."""
    from transformers import AutoModel, SwinBackbone

    encoder = tiny("swin_t", out_indices=(0, 1))
    model = tiny("swin_t", out_indices=(0, 1))
    convert(
        encoder.state_dict(),
        tmp_path / "hf",
        "huggingface",
        encoder=model,
        preprocessing=PREPROCESSING,
    )
    images = images_for(encoder)
    with torch.no_grad():
        maps = SwinBackbone.from_pretrained(tmp_path / "hf").eval()(images).feature_maps
        for ours, theirs in zip(encoder(images), maps, strict=True):
            assert relative_error(ours, theirs) < 1e-5
        last = AutoModel.from_pretrained(tmp_path / "hf").eval()(images).last_hidden_state
    assert_same_features(encoder, last, images)
    with pytest.raises(UserError, match="timm has no place for norm"):
        convert(encoder.state_dict(), tmp_path / "file.pth", "timm")


def test_images_are_prepared_as_the_authors_do(tmp_path) -> None:
    from PIL import Image
    from transformers import AutoImageProcessor

    encoder = tiny("clip_b16")
    preprocessing = of_preset("clip_b16", encoder)
    path = tmp_path / "clip"
    convert(encoder.state_dict(), path, "huggingface", encoder=encoder, preprocessing=preprocessing)
    processor = AutoImageProcessor.from_pretrained(path)
    grey = Image.new("RGB", (40, 24), (128, 128, 128))
    pixels = processor(images=grey, return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 16, 16)
    expected = (128 / 255 - torch.tensor(preprocessing.mean)) / torch.tensor(preprocessing.std)
    torch.testing.assert_close(pixels[0, :, 8, 8], expected)


def test_the_preset_is_found_and_asked_for_where_it_matters(tmp_path) -> None:
    """ViT and DeiT have the same weights by name and shape, but other images."""
    state = randomize(build_backbone("vit_ti16", img_size=32)).state_dict()
    done = convert(state, tmp_path / "vit.pth", "timm")
    assert "img_size=32" in done.code and "num_heads=3" in done.code
    with pytest.raises(UserError, match=r"vit_ti16, deit_ti16.*--arch"):
        convert(state, tmp_path / "hf", "huggingface")
    with pytest.raises(UserError, match=r"like no preset.*--config or --arch"):
        convert(tiny("vit_b16").state_dict(), tmp_path / "hf", "huggingface")
    assert [p.name for p in tmp_path.iterdir()] == ["vit.pth"]


def broken(change) -> dict:
    state = dict(tiny("vit_b16").state_dict())
    change(state)
    return state


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (broken(lambda s: s.pop("blocks.1.attn.proj.bias")), "only a part of a VisionTransformer"),
        (broken(lambda s: [s.pop(n) for n in list(s)[len(s) // 2 :]]), "only a part"),
        (broken(lambda s: s.pop("patch_embed.proj.weight")), "only a part|no encoder"),
        (broken(lambda s: s["norm.bias"].fill_(float("nan"))), "norm.bias holds NaN"),
        ({"fc.weight": torch.ones(2, 2)}, "no encoder of this package"),
    ],
)
def test_what_is_no_whole_encoder_is_refused(state, reason, tmp_path) -> None:
    with pytest.raises(UserError, match=reason):
        convert(state, tmp_path / "file.pth", "timm")
    assert not list(tmp_path.iterdir())


def test_a_parameter_without_a_place_is_named(tmp_path) -> None:
    encoder = tiny("vit_b16", qk_norm=True)
    with pytest.raises(UserError, match=r"torchvision has no place for blocks.0.attn.q_norm"):
        convert(encoder.state_dict(), tmp_path / "file.pth", "torchvision")
    convert(encoder.state_dict(), tmp_path / "file.pth", "timm")


@pytest.mark.parametrize("target", ["timm", "torchvision", "huggingface"])
def test_windows_that_do_not_fit_the_last_map(target, tmp_path) -> None:
    """Where they shrink, timm has smaller tables, and torchvision and transformers pad or fail."""
    encoder = tiny("swin_t", img_size=32, window_size=5)
    with pytest.raises(UserError, match=r"at 32x32 pixels its map of stage . is .x., smaller"):
        write(encoder, tmp_path / "file.pth", target)
    assert not list(tmp_path.iterdir())


def test_attention_that_no_other_library_has(tmp_path) -> None:
    """Its parameters have the names of global attention's, its outputs are others."""
    encoder = tiny("vit_b16", attention=dict(type="window", window_size=2))
    for target in ("timm", "mmpretrain", "torchvision", "huggingface"):
        with pytest.raises(UserError, match="window"):
            write(encoder, tmp_path / "file.pth", target)
    assert not list(tmp_path.iterdir())


ROPE = dict(position="rope2d", layer_scale_init=0.1)
SAM = dict(
    attention=(dict(type="window", window_size=3), "global"),
    position=("learned", "decomposed"),
    cls_token=False,
    final_norm=False,
    out_type="featmap",
)
WIDE, WIDER = dict(img_size=(64, 96)), dict(img_size=(64, 128), pos_embed_cls=False)


def plain_vit(**settings) -> Backbone:
    sizes = dict(embed_dims=64, depth=2, num_heads=2)
    return build_backbone("vit_b16", **{**sizes, "img_size": 64, "out_type": "raw", **settings})


@pytest.mark.parametrize(
    ("target", "settings"),
    [
        ("huggingface", ROPE),  # with a bias of the keys, which RoPE does not cancel
        ("huggingface", dict(ROPE, key_bias=False)),
        ("huggingface", dict(ROPE, key_bias=False, mlp="quick_gelu")),
        ("timm", dict(ROPE, key_bias=False)),
        # 4 x 6 patches and a class token have as many positions as 5 x 5 patches
        *[(target, WIDE) for target in ("timm", "mmpretrain", "huggingface")],
        *[(target, WIDER) for target in ("timm", "mmpretrain", "huggingface")],
        ("timm", dict(WIDE, num_registers=2, layer_scale_init=0.1)),
        ("timm", dict(WIDER, num_registers=2, layer_scale_init=0.1)),
        ("timm", dict(mlp="swiglu")),
        *[(target, dict(mlp="gelu_tanh")) for target in ("timm", "huggingface")],
        ("timm", SAM),
        ("timm", dict(SAM, mlp_ratio=2, qkv_bias=False, norm_eps=1e-2, in_channels=1)),
        ("mmpretrain", dict(SAM, mlp_ratio=2, norm_eps=1e-2, in_channels=1)),
        ("timm", dict(position="none")),
        ("timm", dict(qk_norm=True)),
        ("mmpretrain", dict(qkv_bias=False)),
    ],
    ids=str,
)
def test_settings_unlike_every_preset(target, settings, tmp_path) -> None:
    encoder = randomize(plain_vit(**settings)).eval()
    done = write(encoder, tmp_path / ("folder" if target == "huggingface" else "file.pth"), target)
    images = images_for(encoder)
    assert_same_features(encoder, run(done.code, images), images)


@pytest.mark.parametrize(
    ("target", "settings", "reason"),
    [
        ("timm", ROPE, "its keys have a bias"),
        ("timm", dict(ROPE, qk_norm=True), "rotary position"),
        ("timm", dict(ROPE, pre_norm=True), "rotary position"),
        ("timm", dict(ROPE, key_bias=False, mlp="quick_gelu"), "rotary position"),
        ("torchvision", dict(qkv_bias=False), "the original one alone"),
        ("mmpretrain", dict(mlp="gelu_tanh"), "an approximation of GELU"),
        ("timm", dict(SAM, mlp="quick_gelu"), "what SAM's encoder has not"),
        ("mmpretrain", dict(SAM, mlp="quick_gelu"), "what SAM's encoder has not"),
        ("huggingface", dict(WIDE, layer_scale_init=0.1), "is for square images"),
    ],
    ids=str,
)
def test_settings_that_a_library_does_not_have(target, settings, reason, tmp_path) -> None:
    with pytest.raises(UserError, match=reason):
        write(randomize(plain_vit(**settings)), tmp_path / "file.pth", target)
    assert not list(tmp_path.iterdir())


def test_timm_pads_maps_in_another_way(tmp_path) -> None:
    encoder = tiny("swin_t", img_size=80)
    with pytest.raises(UserError, match=r"stage 1 is 10x10, no multiple of its windows of 4"):
        write(encoder, tmp_path / "file.pth", "timm")


@pytest.mark.parametrize(
    ("target", "name", "settings", "reason"),
    [
        ("torchvision", "swin_t", dict(qkv_bias=False), "no biases"),
        ("torchvision", "swin_t", dict(pad_small_map=True, img_size=32), "never shifted"),
        ("torchvision", "swinv2_t", dict(img_size=24), "smaller than its windows"),
        ("torchvision", "mvit_b16", dict(norm_eps=1e-2), "epsilon"),
        *[
            (target, name, dict(img_size=(64, 32)), "8x4, with windows of 4")
            for target in ("timm", "torchvision")
            for name in ("swin_t", "swinv2_t")
        ],
        ("huggingface", "swinv2_t", dict(img_size=(64, 32)), "8x4, with windows of 4"),
        ("timm", "swinv2_t", dict(img_size=36), "9x9, no multiple of its windows"),
        ("huggingface", "swinv2_t", dict(img_size=36), "does not halve evenly"),
        ("huggingface", "swinv2_t", dict(use_abs_pos_embed=True), "a position more"),
        ("mmdet", "swin_t", dict(use_abs_pos_embed=True), "absolute positions"),
        ("mmpretrain", "swin_t", dict(img_size=24), "smaller than its windows"),
        *[
            (target, "mvitv2_t", settings, reason)
            for target in ("timm", "mmpretrain")
            for settings, reason in (
                (dict(img_size=60), "does not halve evenly"),
                (dict(img_size=(64, 96)), "square"),
                (dict(pool_kernel=None), "without kernels"),
            )
        ],
        ("mmpretrain", "mvitv2_t", dict(rel_pos=False), "no relative positions"),
    ],
    ids=str,
)
def test_what_a_library_would_compute_in_another_way(
    target, name, settings, reason, tmp_path
) -> None:
    with pytest.raises(UserError, match=reason):
        write(tiny(name, **settings), tmp_path / "file.pth", target)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("target", "settings"),
    [
        ("timm", dict(window_size=8, img_size=32)),  # the windows of both stages shrink
        ("huggingface", dict(window_size=8, img_size=32)),
        ("mmpretrain", dict(window_size=8, img_size=32)),
        ("timm", dict(pretrained_window_sizes=3)),
        ("huggingface", dict(pretrained_window_sizes=3)),
    ],
    ids=str,
)
def test_windows_of_version_2(target, settings, tmp_path) -> None:
    encoder = tiny("swinv2_t", **settings)
    images = images_for(encoder)
    done = write(encoder, tmp_path / ("folder" if target == "huggingface" else "file.pth"), target)
    assert_same_features(encoder, run(done.code, images), images)


def test_the_input_is_never_replaced(tmp_path) -> None:
    path = tmp_path / "file.pth"
    torch.save(tiny("vit_b16").state_dict(), path)
    before = path.read_bytes()
    with pytest.raises(UserError, match="is what is to be converted; take another name"):
        convert(path, path, "timm", force=True)
    assert path.read_bytes() == before


TERMINATED = """
import os, signal, sys
from vit_backbones.checkpoint.writing import new_folder
with new_folder(sys.argv[1]) as folder:
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_terminated_process_leaves_nothing(tmp_path) -> None:
    process = subprocess.run([sys.executable, "-c", TERMINATED, tmp_path / "folder"])
    assert process.returncode == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_a_folder_stays_where_the_new_one_cannot_take_its_name(tmp_path, monkeypatch) -> None:
    folder, replace, calls = tmp_path / "folder", os.replace, []
    folder.mkdir()
    (folder / "mark").touch()

    def second_fails(old, new):
        calls.append(new)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(old, new)

    monkeypatch.setattr("os.replace", second_fails)
    with pytest.raises(KeyboardInterrupt), new_folder(folder, force=True, mark="mark"):
        pass
    assert list(tmp_path.iterdir()) == [folder] and (folder / "mark").exists()


def test_files_are_whole_or_not_there(tmp_path, monkeypatch) -> None:
    state, path = tiny("vit_b16").state_dict(), tmp_path / "file.pth"
    path.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        convert(state, path, "timm")
    with pytest.raises(UserError, match=r"\.pth or \.safetensors"):
        convert(state, tmp_path / "file.bin", "timm")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(UserError, match="No space left"):
            convert(state, path, "timm", force=True)
        with pytest.raises(UserError, match="No space left"):
            convert(
                state,
                tmp_path / "hf",
                "huggingface",
                encoder=tiny("vit_b16"),
                preprocessing=PREPROCESSING,
            )
    assert path.read_text() == "mine" and list(tmp_path.iterdir()) == [path]
    convert(state, path, "timm", force=True)
    assert find_encoder(path).type == "VisionTransformer"
