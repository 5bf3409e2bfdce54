"""The whole circle: train, publish, load in every library as the model card says, same features."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope

from tests.checkpoint.families import assert_same_features
from tests.cli.command import TINY, command, options
from tests.parity import random_images
from vit_backbones import load_checkpoint
from vit_backbones.checkpoint.from_config import build_encoder
from vit_backbones.cli.config import read_config

SWIN = [  # swin_digits, a fraction of it
    *(setting for setting in TINY if "depth" not in setting),
    "model.backbone.arch.depths=(1,1,1)",
    # its last map is smaller than its windows at 16 pixels, which other libraries don't do alike
    "model.backbone.img_size=32",
    "train_dataloader.dataset.pipeline.0.scale=(32,32)",
    "val_dataloader.dataset.pipeline.0.scale=(32,32)",
]
CONFIGS = {"vit_digits": TINY, "swin_digits": SWIN}
SECTIONS = {
    "vit_digits": ["vit_backbones", "timm", "mmpretrain", "torchvision", "transformers"],
    "swin_digits": ["vit_backbones", "timm", "mmpretrain", "mmdet", "torchvision", "transformers"],
}


@pytest.fixture(scope="module", params=CONFIGS)
def published(request, tmp_path_factory) -> Path:
    """The folder of an encoder that was trained shortly and published."""
    work, out = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("out") / request.param
    settings = options(*CONFIGS[request.param])
    assert command("train", request.param, "--work-dir", work, "--seed", 0, *settings).status == 0
    (checkpoint,) = work.glob("best_*.pth")
    config = work / f"{request.param}.py"
    done = command("publish_model", checkpoint, "--config", config, "--out", out, "--encoder")
    assert (done.status, done.err) == (0, "")
    assert "bit-equal" in done.out
    return out


def weights(folder: Path) -> Path:
    (path,) = folder.glob("*-????????.pth")
    return path


def encoder_in(folder: Path):
    """Ours, loaded, with all tokens as output where it is a ViT."""
    encoder = build_encoder(read_config(str(folder / f"{folder.name}.py")))
    load_checkpoint(encoder, weights(folder), quiet=True)
    if hasattr(encoder, "out_type"):
        encoder.out_type = "raw"
    return encoder.eval()


def images_for(encoder) -> torch.Tensor:
    return random_images(2, encoder.arch.img_size, encoder.arch.img_size)


def test_every_section_of_the_model_card_works_as_it_is_pasted(published, monkeypatch) -> None:
    encoder = encoder_in(published)
    images, card = images_for(encoder), (published / "README.md").read_text()
    monkeypatch.chdir(published)
    sections = re.findall(r"^### (.+?)\n(.+?)(?=^##)", card, re.MULTILINE | re.DOTALL)
    assert [re.split(r"\W", name)[0] for name, _ in sections] == SECTIONS[published.name]
    for name, text in sections:
        for line in re.findall(r"```bash\n(.+?)\n```", text):
            _, tool, *words = shlex.split(line)
            assert command(Path(tool).stem, *words).status == 0
        code = next(c for c in re.findall(r"```python\n(.+?)```", text, re.DOTALL) if "\n\n" in c)
        scope = dict(images=images)
        with torch.no_grad():
            exec(code, scope)
        if name == "vit_backbones" and hasattr(encoder, "out_type"):
            scope["features"] = encoder(images)[-1]  # what the others are held against
        assert_same_features(encoder, scope["features"], images)


def test_our_encoder_in_a_detector_of_mmdet(published) -> None:
    encoder = encoder_in(published)
    backbone = ConfigDict(read_config(str(published / f"{published.name}.py")).model.backbone)
    if hasattr(encoder, "out_type"):
        backbone.out_type = "featmap"
        encoder.out_type = "featmap"
    backbone.init_cfg = dict(type="Pretrained", checkpoint=str(weights(published)))
    detector = build_detector(backbone, encoder.out_channels[-1])
    images = random_images(2, 2 * encoder.arch.img_size, 3 * encoder.arch.img_size)
    with torch.no_grad():
        assert_same_features(encoder, detector.backbone(images)[-1], images)


@pytest.mark.parametrize("published", ["swin_digits"], indirect=True)
def test_mmdets_own_swin_in_a_detector(published, tmp_path) -> None:
    encoder = encoder_in(published)
    converted = tmp_path / "swin_mmdet.pth"
    config = published / "swin_digits.py"
    words = [weights(published), converted, "--to", "mmdet", "--config", config]
    assert command("convert_checkpoint", *words).status == 0
    arch = encoder.arch
    backbone = ConfigDict(
        type="SwinTransformer",
        embed_dims=arch.embed_dims,
        depths=arch.depths,
        num_heads=arch.heads,
        strides=(arch.patch_size, 2, 2),
        patch_size=arch.patch_size,
        window_size=arch.windows[0],
        mlp_ratio=int(arch.mlp_ratio),
        out_indices=(2,),
        init_cfg=dict(type="Pretrained", checkpoint=str(converted)),
    )
    detector = build_detector(backbone, encoder.out_channels[-1])
    images = random_images(2, 64, 96)
    with torch.no_grad():
        assert_same_features(encoder, detector.backbone(images)[-1], images)


def build_detector(backbone: ConfigDict, channels: int) -> torch.nn.Module:
    """A RetinaNet, as mmdet builds it before training."""
    init_default_scope("mmdet")
    detector = MODELS.build(
        ConfigDict(
            type="RetinaNet",
            backbone=backbone,
            neck=dict(type="FPN", in_channels=[channels], out_channels=16, num_outs=2),
            bbox_head=dict(
                type="RetinaHead",
                num_classes=10,
                in_channels=16,
                stacked_convs=1,
                feat_channels=16,
                anchor_generator=dict(
                    type="AnchorGenerator", scales=[4], ratios=[1.0], strides=[8, 16]
                ),
            ),
        )
    )
    detector.init_weights()
    return detector.eval()
