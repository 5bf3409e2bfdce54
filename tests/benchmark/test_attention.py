"""The scaling study of the attention kinds, and its command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from vit_backbones.benchmark.attention import STATED, AttentionLayer, check_tokens, parse_kind
from vit_backbones.cli.mistakes import run
from vit_backbones.errors import UserError
from vit_backbones.layers.attention_kinds import ATTENTIONS

TOOL = Path(__file__).parents[2] / "tools" / "attention_scaling.py"


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("kind", ATTENTIONS)
def test_every_kind_can_be_measured(kind: str, backward: bool) -> None:
    AttentionLayer(kind, dim=8, num_heads=2, backward=backward)(25)()


def test_every_kind_has_its_stated_growth() -> None:
    assert set(STATED) == set(ATTENTIONS)
    assert parse_kind("pooled:stride=4").stated == "n²"


def test_kinds_take_options() -> None:
    layer = parse_kind("linformer:rank=8,sharing=key-value", dim=16, num_heads=2)
    assert layer == AttentionLayer("linformer", dict(rank=8, sharing="key-value"), 16, 2)


@pytest.mark.parametrize(
    "word, settings, message",
    [
        ("locale", {}, "did you mean 'local'"),
        ("local:kernal_size=7", {}, "did you mean 'kernel_size'"),
        ("local:7", {}, "expected kind:option=value"),
        ("local:kernel_size=4", {}, "kernel_size must be an odd"),
        ("local", dict(dim=10, num_heads=3), "--dim 10 does not divide into --heads 3"),
        ("local", dict(dim=10, num_heads=0), "--dim 10 does not divide into --heads 0"),
    ],
)
def test_mistakes_in_kinds(word: str, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_kind(word, **settings)


def test_tokens_are_square_numbers() -> None:
    assert check_tokens([64, 16, 64]) == [16, 64]
    for wrong, nearest in ((60, 64), (-3, 1), (0, 1)):
        with pytest.raises(UserError, match=f"--tokens {wrong}: .* the nearest is {nearest}$"):
            check_tokens([wrong])


def call(monkeypatch, *words: object) -> None:
    """Run the tool in this process."""
    source = compile(TOOL.read_text(), TOOL, "exec")
    namespace = {"__name__": "tool"}
    exec(source, namespace)
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, words)])
    run(namespace["main"])


def test_the_command_measures_prints_and_saves(monkeypatch, tmp_path: Path, capfd) -> None:
    words = ["--kinds", "local", "--tokens", 16, 64, "--dim", 12, "--rounds", 1, "--threads", 1]
    saved = ["--json", tmp_path / "all.json", "--plot", tmp_path / "plot.png", "--markdown"]
    call(monkeypatch, *words, *saved)
    printed = capfd.readouterr().out
    assert "| Time, ms | 16 | 64 | exponent | definition |" in printed
    assert "forward, dim 12, 3 heads" in printed
    assert "Made by `python tools/attention_scaling.py --kinds local --tokens 16 64" in printed
    (contender,) = json.loads((tmp_path / "all.json").read_text())["contenders"]
    for point in contender["points"]:
        assert point["seconds"] > 0 and not point["not_run"]
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--kinds", "locale"], "did you mean 'local'"),
        (["--tokens", "60"], "the nearest is 64"),
        (["--rounds", "0"], "--rounds"),
        (["--json", "nowhere/all.json"], "there is no folder nowhere"),
    ],
)
def test_mistakes_end_with_one_message(monkeypatch, capfd, words: list, message: str) -> None:
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, *words)
    assert end.value.code == 2
    error = capfd.readouterr().err
    assert message in error and "Traceback" not in error
