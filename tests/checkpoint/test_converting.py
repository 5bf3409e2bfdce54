"""Every family to every library that has it: its own loader reads our file, and gives our
features."""

from __future__ import annotations

import pytest
import torch

from tests.checkpoint.families import TINY, assert_same_features, build_like, images_for, tiny
from vit_backbones import UserError, load_checkpoint
from vit_backbones.checkpoint.converting import convert, find_encoder
from vit_backbones.checkpoint.peers import TARGETS
from vit_backbones.checkpoint.preprocessing import Preprocessing

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


@pytest.mark.parametrize(("name", "target"), [p for p in PAIRS if p[1] in HAVE[p[0]]])
def test_there_and_back_no_bit_changes(name, target, tmp_path) -> None:
    encoder, back = tiny(name), build_like(name)
    path = tmp_path / ("folder" if target == "huggingface" else "file.safetensors")
    convert(encoder.state_dict(), path, target, encoder=tiny(name), preprocessing=PREPROCESSING)
    assert find_encoder(path).type == type(encoder).__name__  # by the file alone
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
        convert(
            encoder.state_dict(),
            tmp_path / "file.pth",
            target,
            encoder=encoder,
            preprocessing=PREPROCESSING,
        )
    assert not list(tmp_path.iterdir())
