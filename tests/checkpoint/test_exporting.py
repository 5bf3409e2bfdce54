"""Exported graphs give the model's outputs, in onnxruntime and as torch.export's program."""

from __future__ import annotations

import sys

import onnxruntime
import pytest
import torch

from tests.full_disk import full_disk
from tests.parity import assert_alive, random_images, randomize, relative_error
from vit_backbones import UserError, build_backbone
from vit_backbones.checkpoint import exporting
from vit_backbones.checkpoint.exporting import export, why_fixed_size

TINY = {
    "vit_b16": dict(embed_dims=16, depth=1, num_heads=2, img_size=16, patch_size=4),
    "swin_t": dict(embed_dims=8, depths=(2, 1), num_heads=(1, 2), window_size=3),
    "mvitv2_t": dict(embed_dims=8, depths=(1, 1), img_size=32),
}
SIZE = (32, 40)  # no multiple of Swin's windows: padding is part of its graph


def tiny(name: str, **settings):
    return randomize(build_backbone(name, **{**TINY[name], **settings})).eval()


def run_onnx(path, images) -> list[torch.Tensor]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [torch.from_numpy(out) for out in session.run(None, {"images": images.numpy()})]


def run_pt2(path, images) -> list[torch.Tensor]:
    return list(torch.export.load(path).module()(images))


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("format", ["onnx", "pt2"])
def test_any_number_of_images(name, format, tmp_path) -> None:
    model = tiny(name)
    path = tmp_path / f"model.{format}"
    done = export(model, path, format, SIZE, dynamic="batch")
    assert done.files == (path,) and list(tmp_path.iterdir()) == [path]
    images = random_images(4, *SIZE)
    (theirs,) = {"onnx": run_onnx, "pt2": run_pt2}[format](path, images)
    with torch.no_grad():
        (ours,) = model(images)
    assert_alive(ours)
    assert relative_error(theirs, ours) < 1e-5


def test_one_size(tmp_path) -> None:
    model = tiny("swin_t", out_indices=(0, 1))
    export(model, tmp_path / "model.pt2", "pt2", SIZE)
    images = random_images(1, *SIZE)
    with torch.no_grad():
        for theirs, ours in zip(run_pt2(tmp_path / "model.pt2", images), model(images)):
            assert relative_error(theirs, ours) < 1e-5
    with pytest.raises(AssertionError):  # torch's: of another size
        run_pt2(tmp_path / "model.pt2", random_images(1, 40, 32))


def test_a_vit_for_images_of_any_size(tmp_path) -> None:
    model = tiny("vit_b16", out_type="featmap")
    path = tmp_path / "model.onnx"
    export(model, path, "onnx", (16, 16), dynamic="all")
    for size in ((16, 16), (8, 44), (100, 12)):
        images = random_images(2, *size)
        with torch.no_grad():
            (ours,) = model(images)
        assert relative_error(run_onnx(path, images)[0], ours) < 1e-5


@pytest.mark.parametrize(
    ("name", "reason"),
    [("swin_t", "windows"), ("mvitv2_t", "pooled"), ("vitdet_b", "window"), ("dino_s16", "factor")],
)
def test_who_has_one_size_says_why(name, reason, tmp_path) -> None:
    with torch.device("meta"):
        model = build_backbone(name)
    assert reason in why_fixed_size(model)
    with pytest.raises(UserError, match=reason):
        export(model, tmp_path / "model.pt2", "pt2", (64, 64), dynamic="all")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_differs_is_not_written(tmp_path, monkeypatch) -> None:
    other = torch.export.export(tiny("vit_b16", out_type="raw"), (random_images(1, 16, 16),))
    monkeypatch.setattr(exporting, "trace", lambda *_: other)
    with pytest.raises(UserError, match="something else than the model"):
        export(tiny("vit_b16"), tmp_path / "model.pt2", "pt2", (16, 16))
    assert not list(tmp_path.iterdir())


def test_numbers_that_differ() -> None:
    one, other = torch.ones(3), torch.tensor([1, 1, 1.5])
    assert exporting.largest_error([other], [one]) == pytest.approx(0.5)
    assert exporting.largest_error([one], [one]) == 0
    assert exporting.largest_error([one, one], [one]) == float("inf")
    assert not exporting.largest_error([one * float("nan")], [one]) <= exporting.TOLERANCE


def test_what_to_install(tmp_path, monkeypatch) -> None:
    for name in ("onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match="needs onnxscript, onnxruntime, which are not installed"):
        export(tiny("vit_b16"), tmp_path / "model.onnx", "onnx", (16, 16))


@pytest.mark.parametrize("format", ["onnx", "pt2"])
def test_a_full_disk_is_one_message_and_leaves_nothing(format, tmp_path) -> None:
    path = tmp_path / f"model.{format}"
    message = f"cannot write .*model.{format}: File too large"
    with pytest.raises(UserError, match=message), full_disk():
        export(tiny("vit_b16"), path, format, (16, 16))
    assert not list(tmp_path.iterdir())


def test_paths_where_no_file_can_be(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(exporting, "trace", None)  # it is known before
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot make the folder .*file is a file"):
        export(tiny("vit_b16"), tmp_path / "file" / "model.pt2", "pt2", (16, 16))
    with pytest.raises(UserError, match="is a folder; give the name of a file"):
        export(tiny("vit_b16"), tmp_path, "pt2", (16, 16), force=True)


def test_a_file_that_is_there_stays(tmp_path) -> None:
    path = tmp_path / "model.pt2"
    path.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        export(tiny("vit_b16"), path, "pt2", (16, 16))
    assert path.read_text() == "mine"
    export(tiny("vit_b16"), path, "pt2", (16, 16), force=True)
    assert run_pt2(path, random_images(1, 16, 16))
