"""Early stopping, across a resume."""

from __future__ import annotations

from typing import Any

from tests.engine.toy import assert_same_weights, run, toy_config, toy_runner, train, weights

SCORES = [1.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]


def stopping_config(work_dir: Any, patience: int = 3, **changes: Any) -> Any:
    hook = dict(
        type="vit_backbones.EarlyStoppingHook",
        monitor="accuracy/top1",
        patience=patience,
        min_delta=0.5,
    )
    changes = {"val_evaluator.scores": SCORES, "custom_hooks": [hook], **changes}
    return toy_config(work_dir, epochs=8, **changes)


def test_a_resumed_run_stops_where_the_whole_run_does(tmp_path):
    whole = run(stopping_config(tmp_path / "whole"))
    assert whole.epoch == 5  # best at 2, then three without improvement
    for epoch in (1, 3, 4):
        run(stopping_config(tmp_path / str(epoch)), epoch=epoch)
        resumed = run(stopping_config(tmp_path / str(epoch), resume=True))
        assert resumed.epoch == 5
        assert_same_weights(weights(whole), weights(resumed))


def test_a_run_that_had_stopped_does_not_go_on(tmp_path):
    whole = run(stopping_config(tmp_path))
    resumed = run(stopping_config(tmp_path, resume=True))
    assert resumed.epoch == 5
    assert_same_weights(weights(whole), weights(resumed))


def test_a_run_that_had_stopped_at_its_threshold_does_not_go_on(tmp_path):
    hook = dict(
        type="vit_backbones.EarlyStoppingHook",
        monitor="accuracy/top1",
        patience=9,
        stopping_threshold=4.0,
    )
    stopping = {"custom_hooks": [hook]}
    assert run(stopping_config(tmp_path, **stopping)).epoch == 2
    assert run(stopping_config(tmp_path, resume=True, **stopping)).epoch == 2
    hook["stopping_threshold"] = 6.0
    assert run(stopping_config(tmp_path, resume=True, **stopping)).epoch == 8


def test_two_metrics_keep_their_own_scores(tmp_path):
    hooks = [
        dict(type="vit_backbones.EarlyStoppingHook", monitor=name, patience=9, rule="greater")
        for name in ("accuracy/top1", "accuracy/other")
    ]
    hooks[1]["strict"] = False  # nobody measures it
    run(stopping_config(tmp_path, custom_hooks=hooks), epoch=3)
    resumed = toy_runner(stopping_config(tmp_path, custom_hooks=hooks, resume=True))
    train(resumed, epoch=3)
    best = {h.monitor: h.best_score for h in resumed.hooks if hasattr(h, "best_score")}
    assert best == {"accuracy/top1": 5.0, "accuracy/other": float("-inf")}


def test_more_patience_lets_it_go_on(tmp_path):
    run(stopping_config(tmp_path))
    assert run(stopping_config(tmp_path, patience=5, resume=True)).epoch == 7
