"""Train, test, predict with the three command lines, on a fraction of the digits."""

from __future__ import annotations

import json
import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.command import TINY, TOOLS, command, options
from vit_backbones import UserError
from vit_backbones.cli.config import read_config
from vit_backbones.cli.predictors.classifier import Classifier


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory) -> Path:
    """The folder of a short run, with what it printed in ``printed.txt``."""
    folder = tmp_path_factory.mktemp("run")
    result = command("train", "vit_digits", "--work-dir", folder, "--seed", 0, *options(*TINY))
    assert result.status == 0
    (folder / "printed.txt").write_text(result.out)
    return folder


def best_checkpoint(work_dir: Path) -> Path:
    (path,) = work_dir.glob("best_*.pth")
    return path


def test_the_last_line_of_a_run_predicts_as_it_is_pasted(work_dir, tmp_path):
    last = (work_dir / "printed.txt").read_text().rstrip().split("\n")[-1]
    _, script, *arguments = shlex.split(last)
    assert Path(script).resolve() == TOOLS / "predict.py"
    status, out, _ = command("predict", *arguments, "--out", tmp_path)
    assert status == 0
    assert out.count("%") == 5
    with Image.open(tmp_path / "example.png") as picture:
        assert picture.width > 500


def broken(*_) -> None:
    raise OSError("no room")


def test_testing_gives_the_score_of_the_run(work_dir, tmp_path, monkeypatch):
    scores, predictions = tmp_path / "scores.json", tmp_path / "predictions.pkl"
    config = work_dir / "vit_digits.py"  # as the run used it
    for out in (scores, predictions):
        status, printed, _ = command(
            "test", config, best_checkpoint(work_dir), "--work-dir", tmp_path, "--out", out,
            *options(),
        )  # fmt: skip
        assert status == 0
        assert "accuracy/top1" in printed
    best = torch.load(best_checkpoint(work_dir), weights_only=True)["message_hub"]["runtime_info"]
    assert json.loads(scores.read_text())["accuracy/top1"] == pytest.approx(best["best_score"])
    before = predictions.read_bytes()
    assert len(pickle.loads(before)) > 100  # images
    words = ["test", config, best_checkpoint(work_dir), "--work-dir", tmp_path]
    with monkeypatch.context() as patched:
        patched.setattr("vit_backbones.files.os.replace", broken)
        status, printed, err = command(*words, "--out", predictions, *options())
    assert (status, f"cannot write {predictions}" in err) == (2, True)
    assert "accuracy/top1" in printed  # the test was not for nothing
    assert predictions.read_bytes() == before


def test_test_time_augmentation(work_dir, tmp_path):
    plain, config, scores = work_dir / "vit_digits.py", tmp_path / "tta.py", tmp_path / "tta.json"
    words = ["test", plain, best_checkpoint(work_dir), "--work-dir", tmp_path, "--tta"]
    status, _, err = command(*words, *options())
    assert (status, "has no tta_model and no tta_pipeline" in err) == (2, True)
    sides = ", ".join(f"dict(type='Resize', scale=({side}, {side}))" for side in (16, 18))
    config.write_text(
        f"_base_ = ['{plain}']\n"
        "tta_model = dict(type='AverageClsScoreTTA')\n"
        f"tta_pipeline = [dict(type='TestTimeAug', transforms=[[{sides}], "
        "[dict(type='PackInputs')]])]\n"
    )
    words[1] = config
    status, out, err = command(*words, "--out", scores, *options())
    assert status == 0, err
    assert "accuracy/top1" in out and 0 < json.loads(scores.read_text())["accuracy/top1"] <= 100


def test_scores_that_no_file_can_hold(work_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("mmengine.runner.Runner.test", None)  # it is known before
    out, config = work_dir / "vit_digits.py" / "scores.json", work_dir / "vit_digits.py"
    words = ["test", config, best_checkpoint(work_dir), "--work-dir", tmp_path, "--out", out]
    status, _, err = command(*words, *options())
    assert (status, "vit_digits.py is a file" in err) == (2, True)


def test_resume_goes_on_where_the_run_ended(work_dir, tmp_path):
    more = [*TINY[1:], "train_cfg.max_epochs=3"]
    result = command("train", "vit_digits", "--resume", "--work-dir", work_dir, *options(*more))
    assert result.status == 0
    assert (work_dir / "epoch_3.pth").is_file()
    assert "epoch_3.pth" in (work_dir / "last_checkpoint").read_text()
    log = max(work_dir.glob("*/*.log"), key=lambda path: path.stat().st_mtime).read_text()
    assert "Epoch(train) [3]" in log
    assert "Epoch(train) [2]" not in log


def test_resume_needs_no_file_from_which_the_run_began(work_dir, tmp_path):
    start = next(work_dir.glob("best_*.pth")).read_bytes()
    (tmp_path / "start.pth").write_bytes(start)
    words = ["vit_digits", "--work-dir", tmp_path / "run", "--pretrained", tmp_path / "start.pth"]
    assert command("train", *words, *options(*TINY)).status == 0
    (tmp_path / "start.pth").unlink()
    config, more = tmp_path / "run/vit_digits.py", options("train_cfg.max_epochs=4")
    result = command("train", config, "--resume", "--work-dir", tmp_path / "run", *more)
    assert (result.status, result.err.count("Traceback")) == (0, 0), result.err
    assert (tmp_path / "run/epoch_4.pth").is_file()


def test_predictions_are_those_of_the_model(work_dir):
    cfg = read_config(str(work_dir / "vit_digits.py"))
    classifier = Classifier(cfg, str(best_checkpoint(work_dir)), "cpu", top=10)
    image = np.asarray(Image.open(work_dir / "example.png").convert("RGB"))
    prediction = classifier(work_dir / "example.png", image)
    names, probabilities = prediction.names, prediction.probabilities
    assert sorted(names) == list("0123456789")
    assert sum(probabilities) == pytest.approx(1)
    assert probabilities == sorted(probabilities, reverse=True)

    model = classifier.model.model
    pixels = torch.from_numpy(np.array(Image.fromarray(image).resize((16, 16), 2), np.float32))
    inputs = (pixels.permute(2, 0, 1)[None] - 127.5) / 127.5
    expected = model.head(model.backbone(inputs)).softmax(1)[0]
    # cv2's and pillow's bilinear enlargement differ by a grey level at most
    own = torch.tensor([probabilities[names.index(name)] for name in "0123456789"])
    torch.testing.assert_close(own, expected.detach(), atol=2e-3, rtol=0)


def test_what_ends_a_classifiers_pipeline_is_about_the_image(work_dir, monkeypatch):
    cfg = read_config(str(work_dir / "vit_digits.py"))
    classifier = Classifier(cfg, str(best_checkpoint(work_dir)), "cpu")
    monkeypatch.setattr(classifier.model, "pipeline", lambda _: [][0])
    with pytest.raises(UserError, match=r"x.png .*of 4 x 2 pixels.*\(list index out of range\)"):
        classifier(Path("x.png"), np.zeros((2, 4, 3), np.uint8))


def test_models_of_data_sets_that_hold_rgb_get_rgb(work_dir, monkeypatch):
    cfg = read_config(str(work_dir / "vit_digits.py"))
    classifier = Classifier(cfg, str(best_checkpoint(work_dir)), "cpu")
    assert classifier.model.from_rgb is True
    seen, pipeline = [], classifier.model.pipeline
    monkeypatch.setattr(
        classifier.model, "pipeline", lambda x: seen.append(x["img"]) or pipeline(x)
    )
    blue = np.zeros((8, 8, 3), np.uint8)
    blue[..., 2] = 255
    for holds_rgb, expected in ((True, [0, 0, 255]), (False, [255, 0, 0])):
        classifier.model.from_rgb = holds_rgb
        classifier(Path("blue.png"), blue)
        assert seen.pop()[0, 0].tolist() == expected


@pytest.mark.parametrize(
    "content, expected",
    [
        (None, "does not exist"),
        (b"", "is empty: 0 bytes"),
        (b"hello", "is no checkpoint; it begins with the text 'hello'"),
        ({"state_dict": {"a": torch.zeros(1)}}, "is not a checkpoint of this config's model"),
        ({"state_dict": {}}, "holds no weights"),
        ([1], "holds no weights"),
    ],
)
@pytest.mark.parametrize("tool", ["test", "predict"])
def test_a_checkpoint_that_does_not_serve(tool, content, expected, work_dir, tmp_path):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    more = [work_dir / "example.png"] if tool == "predict" else ["--work-dir", tmp_path]
    status, _, err = command(tool, "vit_digits", path, *more, *options())
    assert status == 2
    assert expected in err
    assert str(path) in err


def test_a_checkpoint_cut_short(work_dir, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(best_checkpoint(work_dir).read_bytes()[:5000])
    status, _, err = command("predict", "vit_digits", path, work_dir / "example.png")
    assert (status, "can't be read" in err) == (2, True)


def test_a_checkpoint_of_a_deeper_model(work_dir):
    arguments = [best_checkpoint(work_dir), work_dir / "example.png"]  # depth 1
    status, _, err = command("predict", "vit_digits", *arguments)  # depth 4
    assert status == 2
    assert "of the model's weights are not in the file (backbone.blocks.1." in err


@pytest.mark.parametrize(
    "content, expected",
    [(None, "no image at"), (b"hello", "can't be read as an image")],
)
def test_an_image_that_does_not_serve(content, expected, work_dir, tmp_path):
    path = tmp_path / "x.png"
    if content:
        path.write_bytes(content)
    config = work_dir / "vit_digits.py"
    status, _, err = command("predict", config, best_checkpoint(work_dir), path)
    assert (status, expected in err) == (2, True)


def test_folders_of_images(work_dir, tmp_path):
    for name in ("b.png", "a.PNG"):
        (tmp_path / name).write_bytes((work_dir / "example.png").read_bytes())
    (tmp_path / "notes.txt").write_text("no image")
    config = work_dir / "vit_digits.py"
    status, out, _ = command("predict", config, best_checkpoint(work_dir), tmp_path, "--top", 1)
    assert status == 0
    assert out.count("%") == 2
    assert out.index("a.PNG") < out.index("b.png")


def test_the_command_itself(tmp_path):
    """As a process, from another folder: the status and both streams are a shell's."""
    arguments = ["vit_b16_imagenet", "--work-dir", tmp_path / "work"]
    result = subprocess.run(
        [sys.executable, TOOLS / "train.py", *arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": str(TOOLS.parent), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert f"ImageNet is not in {tmp_path / 'data/imagenet'} (no such folder)" in result.stderr
    assert "Traceback" not in result.stderr
