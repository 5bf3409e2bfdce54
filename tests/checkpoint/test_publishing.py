"""Publishing: what is in the folder, what is proved before, and what is refused."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml
from mmengine.config import Config

from tests.parity import randomize
from vit_backbones import UserError, load_checkpoint
from vit_backbones.checkpoint import publishing
from vit_backbones.checkpoint.from_config import build_encoder, build_model
from vit_backbones.checkpoint.publishing import model_name, publish
from vit_backbones.checkpoint.run_record import data_set_of
from vit_backbones.cli.config import read_config

DATE = datetime.date(2026, 11, 21)
HISTORY = [{"iter": 4, "loss": 2.0, "accuracy/top1": 10.0}, {"iter": 8, "accuracy/top1": 55.5}]


def digits(**settings) -> Config:
    return read_config("vit_digits", {"model.backbone.arch.depth": 1, **settings})


@pytest.fixture
def run(tmp_path) -> Path:
    """A checkpoint as a run writes it, in the folder of the run."""
    return write_run(tmp_path / "secret_place", digits())


def write_run(folder: Path, cfg: Config, **more) -> Path:
    folder.mkdir()
    model = randomize(build_model(cfg))
    content = {
        "meta": {
            "epoch": 2,
            "iter": 8,
            "cfg": f"work_dir = '{folder}'",
            "dataset_meta": {"classes": tuple("0123456789")},
        },
        "state_dict": model.state_dict(),
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}},
        "message_hub": {"runtime_info": {"history": HISTORY, "best_ckpt": str(folder)}},
        **more,
    }
    torch.save(content, folder / "epoch_2.pth")
    return folder / "epoch_2.pth"


def text_of(folder: Path) -> str:
    return "".join((folder / n).read_text() for n in ("README.md", "metafile.yml", "vit_digits.py"))


def test_what_is_published(run, tmp_path) -> None:
    cfg = digits(work_dir=str(run.parent))
    done = publish(run, cfg, tmp_path / "out", date=DATE)
    folder = tmp_path / "out"
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [*done.files, "README.md", "metafile.yml", "vit_digits.py"]
    )
    expected = torch.load(run, weights_only=True)["state_dict"]
    for file in done.files:
        name = re.fullmatch(r"vit_digits_20261121-([0-9a-f]{8})\.(pth|safetensors)", file)
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest().startswith(name[1])
    content = torch.load(folder / done.files[0], weights_only=True)
    assert set(content) == {"meta", "state_dict"}
    assert content["meta"]["dataset_meta"]["classes"] == tuple("0123456789")
    for state in (content["state_dict"], safetensors.torch.load_file(folder / done.files[1])):
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[key], expected[key]) for key in expected)
    assert "secret_place" not in text_of(folder) and b"secret_place" not in b"".join(
        (folder / file).read_bytes() for file in done.files
    )


def test_the_card_and_the_index(run, tmp_path) -> None:
    publish(run, digits(), tmp_path / "out", date=DATE)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| accuracy/top1 | 55.5 |" in card and "loss" not in card
    assert "Trained on: Digits (train)" in card
    assert "RGB, 16 x 16 pixels (bilinear), pixels of 0 to 1 minus 0.5, 0.5, 0.5" in card
    index = yaml.safe_load((tmp_path / "out" / "metafile.yml").read_text())
    (model,) = index["Models"]
    assert model["Results"][0] == {
        "Dataset": "Digits (val)",
        "Task": "Image Classification",
        "Metrics": {"accuracy/top1": 55.5},
    }
    assert (tmp_path / "out" / model["Weights"]).is_file()
    assert (tmp_path / "out" / model["Config"]).is_file()
    assert model["In Collection"] == index["Collections"][0]["Name"]
    total = sum(p.numel() for p in build_model(digits()).parameters())
    assert model["Metadata"]["Parameters"] == total
    again = Config.fromfile(tmp_path / "out" / model["Config"])
    assert again.model == digits().model


def test_a_file_that_was_changed_is_refused(run, tmp_path) -> None:
    done = publish(run, digits(), tmp_path / "out", encoder_only=True, date=DATE)
    encoder = build_encoder(digits())
    for file in done.files:
        path = tmp_path / "out" / file
        load_checkpoint(encoder, path, quiet=True)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        with pytest.raises(UserError, match="not the file that its name promises"):
            load_checkpoint(encoder, path, quiet=True)


def test_scores_from_the_log_where_the_checkpoint_has_none(tmp_path) -> None:
    run = write_run(tmp_path / "run", digits(), message_hub={})
    log = run.parent / "20261121_120000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    rows = [{"loss": 1.0, "step": 2}, {"accuracy/top1": 33.25, "time": 1.0, "step": 2}]
    other = [{"accuracy/top1": 99.0, "step": 3}]
    log.write_text("\n".join(map(json.dumps, rows + other)) + '\n{"cut sh')
    done = publish(run, digits(), tmp_path / "out")
    assert done.record.scores == {"accuracy/top1": 33.25}
    assert "the run's log (20261121_120000)" in (tmp_path / "out" / "README.md").read_text()


def test_without_scores_the_card_says_so(tmp_path) -> None:
    run = write_run(tmp_path / "run", digits(), message_hub={})
    publish(run, digits(), tmp_path / "out")
    assert "Scores: not known" in (tmp_path / "out" / "README.md").read_text()


def test_averaged_weights(tmp_path) -> None:
    """mmengine's EMA hook puts the average into 'state_dict' when it saves, the raw weights into
    'ema_state_dict'."""
    raw = {f"module.{n}": t + 1 for n, t in build_model(digits()).state_dict().items()}
    run = write_run(tmp_path / "run", digits(), ema_state_dict={"steps": torch.tensor(3), **raw})
    done = publish(run, digits(), tmp_path / "out")
    published = torch.load(tmp_path / "out" / done.files[0], weights_only=True)["state_dict"]
    average = torch.load(run, weights_only=True)["state_dict"]
    assert all(torch.equal(published[name], average[name]) for name in average)
    assert "moving average" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("encoder_only", [False, True])
def test_refusals_write_nothing(run, tmp_path, monkeypatch, encoder_only) -> None:
    def refused(match: str, checkpoint: Path = run, cfg: Config | None = None) -> None:
        before = sorted(tmp_path.iterdir())
        with pytest.raises(UserError, match=match):
            publish(checkpoint, cfg or digits(), tmp_path / "out", encoder_only=encoder_only)
        assert sorted(tmp_path.iterdir()) == before

    refused("exactly the weights|does not fill", cfg=digits(**{"model.backbone.arch.depth": 2}))
    refused("epoch_2.pth (holds no SwinT|does not hold exactly)", cfg=read_config("swin_digits"))
    content = torch.load(run, weights_only=True)
    bad = run.with_name("nan.pth")
    content["state_dict"]["backbone.norm.weight"][3] = float("inf")
    torch.save(content, bad)
    refused("backbone.norm.weight holds NaN or infinite", checkpoint=bad)

    def spoil(state: dict, *more) -> bytes:
        return to_bytes({n: t * (1 + 1e-6) for n, t in state.items()}, *more)

    to_bytes = publishing.to_bytes
    monkeypatch.setattr(publishing, "to_bytes", spoil)
    refused("gives other outputs")


def test_folders_that_are_there(run, tmp_path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()  # empty: as good as none
    publish(run, digits(), folder, date=DATE)
    with pytest.raises(UserError, match="exists already"):
        publish(run, digits(), folder)
    publish(run, digits(), folder, encoder_only=True, date=DATE, force=True)
    assert all("encoder" in path.stem for path in folder.glob("*.pth"))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("...")
    with pytest.raises(UserError, match="no folder of this kind"):
        publish(run, digits(), mine, force=True)
    assert [p.name for p in mine.iterdir()] == ["thesis.tex"]


def test_names() -> None:
    cfg = digits()
    assert model_name(cfg, False, DATE) == "vit_digits_20261121"
    assert model_name(cfg, True, DATE) == "vit_digits_encoder_20261121"
    cfg.train_dataloader.dataset.type = "mmdet.CocoDataset"
    assert model_name(cfg, False, DATE) == "vit_digits_coco_20261121"
    from mmdet.datasets import CocoDataset

    cfg.train_dataloader.dataset.type = CocoDataset  # mmengine's configs in Python have classes
    assert model_name(cfg, False, DATE) == "vit_digits_coco_20261121"
    assert data_set_of(cfg.train_dataloader) == "CocoDataset (train)"


BACKBONE = """
custom_imports = dict(imports=["vit_backbones"])
backbone = dict(
    type="vit_backbones.SwinTransformer",
    arch=dict(embed_dims=8, depths=(1, 1), num_heads=(1, 2), window_size=4, img_size=64),
    out_indices=(0, 1),
)
"""
DETECTOR = """
default_scope = "mmdet"
model = dict(
    type="RetinaNet",
    data_preprocessor=dict(type="DetDataPreprocessor", mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_size_divisor=8),
    backbone=backbone,
    neck=dict(type="FPN", in_channels=[8, 16], out_channels=8, num_outs=2),
    bbox_head=dict(type="RetinaHead", num_classes=3, in_channels=8, stacked_convs=1,
        feat_channels=8, anchor_generator=dict(type="AnchorGenerator", scales=[4], ratios=[1.0],
        strides=[4, 8])),
    test_cfg=dict(nms_pre=20, score_thr=0.0, nms=dict(type="nms", iou_threshold=0.5),
        max_per_img=10),
)
"""
SEGMENTER = """
default_scope = "mmseg"
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375], bgr_to_rgb=True, size=(64, 64)),
    backbone=backbone,
    decode_head=dict(type="FCNHead", in_channels=16, in_index=1, channels=8, num_convs=1,
        num_classes=3, norm_cfg=dict(type="BN")),
    test_cfg=dict(mode="whole"),
)
"""


@pytest.mark.parametrize("text", [DETECTOR, SEGMENTER], ids=["mmdet", "mmseg"])
def test_detectors_and_segmenters(text, tmp_path) -> None:
    path = tmp_path / "model.py"
    path.write_text(BACKBONE + text)
    cfg = read_config(str(path))
    run = write_run(tmp_path / "run", cfg)
    done = publish(run, cfg, tmp_path / "out")
    assert done.compared >= 4
    encoder = build_encoder(cfg)
    assert not load_checkpoint(encoder, tmp_path / "out" / done.files[1], quiet=True).unfilled
    card = (tmp_path / "out" / "README.md").read_text()
    assert "### timm" not in card  # two outputs with norms have no place there
    assert "### mmdet's own backbone" in card
