"""The last lines of a run."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.engine.toy import run, toy_config
from vit_backbones.engine.summary_hook import example_image

HOOKS = {
    "default_hooks.plot": dict(type="vit_backbones.ConvergencePlotHook"),
    "default_hooks.summary": dict(type="vit_backbones.SummaryHook"),
}
STOP = dict(
    type="vit_backbones.EarlyStoppingHook", monitor="accuracy/top1", patience=2, min_delta=0.5
)


def last_lines(capfd, *args, **kwargs) -> list[str]:
    run(toy_config(*args, **HOOKS, **{"default_scope": "mmpretrain", **kwargs}))
    return capfd.readouterr().out.rstrip("\n").split("\n")


def test_says_score_epoch_files_and_command(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scores = {"val_evaluator.scores": [50.0, 97.5, 90.0]}
    *_, best, checkpoint, plot, ask, command = last_lines(capfd, "runs/one", epochs=3, **scores)
    assert best == "Best accuracy/top1: 97.5 at epoch 2 of 3"
    assert checkpoint == "Checkpoint: runs/one/best_accuracy_top1_epoch_2.pth"
    assert plot == "Plot: runs/one/convergence.png"
    assert ask == "Try it on an image:"
    python, script, config, weights, image = shlex.split(command)
    assert Path(script).name == "predict.py"
    assert os.access(python, os.X_OK) or python == "python"
    assert Path(config).is_file()
    assert Path(weights).is_file()
    assert image == "IMAGE"  # the toy data set has none
    assert Path(plot.removeprefix("Plot: ")).is_file()


def test_early_stopping_loses_no_line(tmp_path, capfd):
    scores = {"val_evaluator.scores": [50.0, 97.5, 90.0, 91.0], "custom_hooks": [STOP]}
    lines = last_lines(capfd, tmp_path, epochs=9, **scores)
    assert lines[-6] == "Best accuracy/top1: 97.5 at epoch 2 of 9"
    assert lines[-5] == "Stopped early, after epoch 4 of 9"
    assert lines[-4].endswith("best_accuracy_top1_epoch_2.pth")


def test_without_a_best_checkpoint_the_last_one_counts(tmp_path, capfd):
    lines = last_lines(capfd, tmp_path, epochs=2, **{"default_hooks.checkpoint.save_best": None})
    assert lines[-4] == f"Checkpoint: {tmp_path / 'epoch_2.pth'}"
    assert not any(line.startswith("Best") for line in lines)


def test_without_validation(tmp_path, capfd):
    parts = dict.fromkeys(
        ("val_dataloader", "val_evaluator", "val_cfg", "default_hooks.checkpoint.save_best")
    )
    lines = last_lines(capfd, tmp_path, epochs=2, **parts)
    assert f"Checkpoint: {tmp_path / 'epoch_2.pth'}" in lines


@pytest.mark.parametrize(
    "sample, name",
    [
        (dict(img_path="/data/cat 1.jpg"), "/data/cat 1.jpg"),
        (dict(img=np.full((4, 6, 3), 200, dtype=np.uint8)), "example.png"),
        (dict(points=[1.0]), None),
    ],
)
def test_example_is_an_image_of_the_data_set(tmp_path, sample, name):
    class Samples:
        def get_data_info(self, index: int) -> dict:
            return sample

    path = example_image(Samples(), tmp_path)
    if name is None:
        assert path is None
    else:
        assert str(path).endswith(name)
    if "img" in sample:
        assert np.array_equal(np.asarray(Image.open(path)), sample["img"])


@pytest.mark.parametrize("scope", ["mmdet", "mmseg"])
def test_detectors_and_segmenters_are_asked_for_pictures(scope, tmp_path, capfd):
    *_, ask, command = last_lines(capfd, tmp_path, epochs=1, default_scope=scope)
    assert ask == "Try it on an image:"
    _, script, _, weights, image, *rest = shlex.split(command)
    assert Path(script).name == "predict.py"
    assert Path(weights).is_file()
    assert image == "IMAGE"
    assert rest == ["--out", str(tmp_path / "pictures")]


def test_other_libraries_get_the_command_that_evaluates(tmp_path, capfd):
    *_, ask, command = last_lines(capfd, tmp_path, epochs=1, default_scope="mmengine")
    assert ask == "Evaluate it:"
    _, script, _, weights = shlex.split(command)
    assert Path(script).name == "test.py"
    assert Path(weights).is_file()
