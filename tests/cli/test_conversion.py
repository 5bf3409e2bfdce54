"""tools/convert_checkpoint.py and tools/export.py: what they print, what they refuse."""

from __future__ import annotations

import json

import pytest
import torch

from tests.cli.command import command
from vit_backbones import build_backbone, load_checkpoint
from vit_backbones.checkpoint.from_config import build_encoder
from vit_backbones.cli.config import read_config

TINY = ("embed_dims=32", "depth=2", "num_heads=2", "patch_size=4", "img_size=16")


@pytest.fixture
def digits(tmp_path):
    """The weights of a whole classifier, untrained."""
    encoder = build_encoder(read_config("vit_digits"))
    state = {f"backbone.{n}": t for n, t in encoder.state_dict().items()}
    state["head.layers.head.weight"] = torch.zeros(10, 64)
    torch.save({"state_dict": state}, tmp_path / "run.pth")
    return tmp_path / "run.pth"


def test_conversion_tells_what_it_did(digits, tmp_path) -> None:
    out = tmp_path / "timm.safetensors"
    words = [digits, out, "--to", "timm", "--config", "vit_digits"]
    status, printed, _ = command("convert_checkpoint", *words)
    assert status == 0
    assert "head.layers.head.weight" in printed and "left aside" in printed
    assert "timm.create_model('vit_base_patch16_224'" in printed
    encoder = build_encoder(read_config("vit_digits"))
    assert not load_checkpoint(encoder, out, quiet=True).unfilled
    status, _, error = command("convert_checkpoint", *words)
    assert status == 2 and "--force" in error
    assert command("convert_checkpoint", *words, "--force").status == 0


def test_a_file_in_place_of_the_folder(digits) -> None:
    words = [digits, digits / "timm.pth", "--to", "timm", "--config", "vit_digits"]
    status, _, error = command("convert_checkpoint", *words)
    assert status == 2 and f"cannot make the folder {digits}" in error


def test_a_folder_of_transformers_by_arch(tmp_path) -> None:
    encoder = build_backbone(
        "dinov2_s14", embed_dims=32, depth=2, num_heads=2, patch_size=4, img_size=16
    )
    torch.save(encoder.state_dict(), tmp_path / "in.pth")
    words = [tmp_path / "in.pth", tmp_path / "out", "--to", "huggingface", "--arch"]
    status, printed, _ = command("convert_checkpoint", *words, "dinov2_s14", *TINY)
    assert status == 0 and "AutoModel.from_pretrained" in printed
    images = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert images["image_mean"] == [0.485, 0.456, 0.406]
    assert images["size"] == {"shortest_edge": 256} and images["crop_size"]["height"] == 224
    assert images["resample"] == 3
    words[1] = tmp_path / "mine"
    mean = ["--mean", "0.1", "0.2", "0.3", "--std", "1", "1", "1"]
    arch = ["VisionTransformer", "layer_scale_init=1.0", *TINY]
    status, _, error = command("convert_checkpoint", *words, *arch)
    assert status == 2 and "--mean and --std" in error
    assert command("convert_checkpoint", *words, *arch, *mean).status == 0
    images = json.loads((tmp_path / "mine" / "preprocessor_config.json").read_text())
    assert images["image_mean"] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--arch", "vit_b17"], "no preset, did you mean 'vit_b16'"),
        (["--arch", "vit_s16"], "like no preset"),
        (["--arch", "vit_s16", "--config", "vit_digits"], "not both"),
        (["--config", "swin_digits"], "holds no SwinTransformer"),
        (["--mean", "0.5"], "need --arch or --config"),
    ],
)
def test_mistakes_of_conversion(digits, tmp_path, words, message) -> None:
    out = tmp_path / "out.pth"
    status, _, error = command("convert_checkpoint", digits, out, "--to", "native", *words)
    assert status == 2 and message in error and not out.exists()


def test_export_of_a_classifier(digits, tmp_path) -> None:
    config = "vit_digits"
    encoder = build_encoder(read_config(config))
    out = tmp_path / "digits.pt2"
    status, printed, _ = command("export", config, "--format", "pt2", "--out", out)
    assert status == 0
    assert "scores of the classes, 1x10" in printed and "The weights are random" in printed
    assert "RGB, 16 x 16 pixels (bilinear), pixels of 0 to 1 minus 0.5" in printed
    images = torch.zeros(1, 3, 16, 16)
    assert torch.export.load(out).module()(images).shape == (1, 10)
    words = ["--encoder", "--format", "pt2", "--out", tmp_path / "encoder.pt2"]
    status, printed, _ = command("export", config, digits, *words)
    assert status == 0 and "features, 1x64" in printed and "random" not in printed
    load_checkpoint(encoder, digits, quiet=True)
    with torch.no_grad():
        expected = encoder.eval()(images)[0]
    (found,) = torch.export.load(tmp_path / "encoder.pt2").module()(images)
    torch.testing.assert_close(found, expected)


def test_export_for_another_size(tmp_path) -> None:
    words = ["deit_ti16", *TINY, "--format", "pt2", "--size", 12, 20, "--out", tmp_path / "x.pt2"]
    status, printed, _ = command("export", *words)
    assert status == 0 and "float32, 1 x 3 x 12 x 20" in printed
    assert "RGB, 12 x 20 pixels (bicubic), pixels of" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vit_b17"], "no config at vit_b17"),
        (["vit_digits", "depth=2"], "is for presets"),
        (["vit_b16", "nothing.pth"], "does not exist"),
        (["swin_t", "--dynamic"], "--dynamic batch"),
        (["vit_b16", "--out", "x.onnx"], "ends in .pt2"),
    ],
)
def test_mistakes_of_export(words, message, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = [] if words[0] == "vit_digits" or words[0] == "vit_b17" else ["embed_dims=64"]
    status, _, error = command("export", *words, *small, "--format", "pt2")
    assert status == 2 and message in error and not list(tmp_path.iterdir())
