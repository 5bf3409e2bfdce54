"""The history of a run, and its picture."""

from __future__ import annotations

import io
import operator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from tests.engine.toy import run, toy_config
from vit_backbones.engine.convergence_plot_hook import best_row, draw_history, history

PLOT = {"default_hooks.plot": dict(type="vit_backbones.ConvergencePlotHook")}


def test_one_row_per_epoch_with_all_that_is_known(tmp_path):
    scores = [40.0, 70.0, 60.0]
    runner = run(toy_config(tmp_path, epochs=3, **PLOT, **{"val_evaluator.scores": scores}))
    rows = history(runner)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["iter"] for row in rows] == [6, 12, 18]
    assert [row["accuracy/top1"] for row in rows] == scores
    losses = runner.message_hub.get_scalar("train/loss").data[0]
    assert np.allclose([row["loss"] for row in rows], losses.reshape(3, 6).mean(axis=1))
    assert rows[0]["lr"] > rows[2]["lr"] > 0
    assert best_row(rows, "accuracy/top1", operator.gt) == rows[1]
    assert best_row(rows, "accuracy/top1", operator.lt) == rows[0]


def test_goes_on_after_a_resume(tmp_path):
    whole = history(run(toy_config(tmp_path / "whole", epochs=4, **PLOT)))
    run(toy_config(tmp_path / "parts", epochs=4, **PLOT), epoch=2)
    assert history(run(toy_config(tmp_path / "parts", epochs=4, resume=True, **PLOT))) == whole


def test_epochs_without_validation_have_no_score(tmp_path):
    runner = run(toy_config(tmp_path, epochs=4, **PLOT, **{"train_cfg.val_interval": 2}))
    scored = ["accuracy/top1" in row for row in history(runner)]
    assert scored == [False, True, False, True]


def test_rewritten_after_each_validation_and_never_in_part(tmp_path, monkeypatch):
    """Each picture replaces the last one in a single step: a viewer never sees half of one."""
    seen = []
    monkeypatch.setattr(
        "vit_backbones.engine.convergence_plot_hook.write_atomically",
        lambda path, data: seen.append((Path(path).name, data)),
    )
    run(toy_config(tmp_path, epochs=2, **PLOT))
    assert {name for name, _ in seen} == {"convergence.png"}
    assert len(seen) == 3  # two validations and the end
    assert len({data for _, data in seen}) == 2
    assert Image.open(io.BytesIO(seen[0][1])).size[0] > 500


def test_picture_is_labelled_and_marks_the_best(monkeypatch):
    rows = [
        dict(epoch=e, iter=10 * e, loss=2 / e, lr=1e-3 / e, score=s)
        for e, s in ((1, 0.2), (2, 0.9), (3, 0.5))
    ]
    axes, texts = drawn(monkeypatch, rows, {"score": operator.gt})
    assert [a.get_ylabel() for a in axes] == ["loss", "score", "learning rate"]
    assert axes[-1].get_xlabel() == "epoch"
    assert "best: 0.9 at epoch 2" in texts[1]
    assert all(texts)
    star = axes[1].lines[1]
    assert (star.get_xdata(), star.get_ydata()) == ([2], [0.9])


def test_picture_without_metric_or_with_gaps(monkeypatch):
    rows = [dict(epoch=1, iter=5, loss=1.0), dict(epoch=2, iter=10, loss=0.5, mIoU=3.0)]
    axes, texts = drawn(monkeypatch, rows, {}, "iter")
    assert texts[1] == ["mIoU"]
    assert axes[-1].get_xlabel() == "iteration"
    assert draw_history([], {})


def drawn(monkeypatch, *args):
    kept = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda fig, *a, **k: kept.append(fig) or save(fig, *a, **k)
    )
    assert draw_history(*args).startswith(b"\x89PNG")
    axes = kept[0].axes
    texts = [[t.get_text() for t in a.get_legend().get_texts()] if a.lines else [] for a in axes]
    return axes, texts
