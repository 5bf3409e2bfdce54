"""tools/benchmark.py: a whole run with tiny models, and what it says about mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.cli.command import command

TINY = ["--settings", "embed_dims=32", "depths=(1,1)", "window_size=4", "--threads", 1]


@pytest.fixture(autouse=True)
def keep_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_a_comparison_is_printed_and_saved(tmp_path: Path) -> None:
    saved = ["--json", tmp_path / "all.json", "--plot", tmp_path / "plot.png"]
    words = ["--models", "swin_t", "--size", 64, "--batch", 1, "--rounds", 2]
    words += ["--settings", "in_channels=1", *TINY[1:], *saved]
    result = command("benchmark", *words, "--peers", "timm", "--mode", "train", "--markdown")
    assert result.status == 0, result.err
    assert "swin_t, in_channels=1, embed_dims=32, depths=(1, 1), window_size=4, " in result.out
    assert "| vit_backbones | " in result.out and "| timm | " in result.out
    assert "Made by `python tools/benchmark.py --models swin_t --size 64" in result.out
    run = json.loads((tmp_path / "all.json").read_text())
    assert run["command"].startswith("python tools/benchmark.py --models swin_t")
    assert run["versions"]["torch"] == torch.__version__ and run["threads"] == 1
    (match,) = run["matches"]
    assert match["workload"]["maps"] and match["best_peer"] == "timm"
    assert match["mismatches"] == []
    for contender in match["contenders"]:
        assert len(contender["samples"]) == 2 and contender["peak_bytes"] > 0
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_scaling_is_printed_and_saved(tmp_path: Path) -> None:
    """With one library that has no such encoder."""
    saved = ["--json", tmp_path / "all.json", "--plot", tmp_path / "plot.png"]
    words = [
        "--models",
        "swinv2_t",
        "--scaling",
        64,
        32,
        "--batch",
        1,
        "--rounds",
        1,
        *TINY,
        *saved,
    ]
    result = command("benchmark", *words, "--peers", "mmdet")
    assert result.status == 0, result.err
    assert "swinv2_t, infer: mmdet left out: has no Swin v2" in result.err
    words = result.out.split()
    assert "32²" in words and "64²" in words and "exponent" in words
    assert "Tokens: swinv2_t 64, 256." in " ".join(words)
    (curve,) = json.loads((tmp_path / "all.json").read_text())["contenders"]
    assert curve["label"] == "swinv2_t infer"
    assert [point["size"] for point in curve["points"]] == [32**2, 64**2]
    assert all(point["samples"] for point in curve["points"])
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--models", "swin_x"], "there is no preset 'swin_x', did you mean 'swin_"),
        (["--settings", "dept=2"], "no setting 'dept', did you mean 'depth'?"),
        (["--settings", "out_type=raw"], "--settings out_type: the benchmark sets it"),
        (["--peers", "tim"], "invalid choice: 'tim'"),
        (["--size", "0"], "--size must be a positive integer or two"),
        (["--size", "1", "2", "3"], "--size must be a positive integer or two"),
        (["--rounds", "0"], "--rounds must be 1 or more, not 0"),
        (["--batch", "-1"], "--batch must be 1 or more, not -1"),
        (["--scaling", "0", "64"], "--scaling 0: a side has 1 pixel or more"),
        (["--json", "nowhere/all.json"], "there is no folder nowhere"),
        (["--json", "/"], "/ is a folder; give the name of a file"),
        (["--plot", "speed.jpg"], "give a name that ends in .png"),
    ],
    ids=" ".join,
)
def test_mistakes_end_with_one_message(words: list[str], message: str) -> None:
    result = command("benchmark", *words)
    assert result.status == 2 and result.out == ""
    assert message in result.err and "Traceback" not in result.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there() -> None:
    assert "torch sees no GPU here" in command("benchmark", "--device", "cuda").err
