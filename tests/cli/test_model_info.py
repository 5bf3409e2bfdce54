"""tools/model_info.py: the figures it prints, and what it says about mistakes."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from vit_backbones import list_backbones
from vit_backbones.cli.model_info import parse_setting

TOOL = Path(__file__).parents[2] / "tools" / "model_info.py"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """Run the tool in this process; returns exit status, output and errors."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["model_info.py", *words])
        monkeypatch.setenv("COLUMNS", "120")
        status = 0
        try:
            runpy.run_path(str(TOOL), run_name="__main__")
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def cells(output: str) -> list[list[str]]:
    """The words of each line of a table, without its frame."""
    lines = (line.replace("┃", "│").split("│") for line in output.splitlines())
    return [[cell.strip() for cell in line[1:-1]] for line in lines if len(line) > 2]


def test_figures_of_a_plain_vit(run) -> None:
    status, output, _ = run("vit_b16", "--size", "384", "512")
    assert status == 0
    rows = cells(output)
    assert "vit_b16 (VisionTransformer)" in output
    assert ["input", "3 x 384 x 512"] in rows
    assert ["parameters", "85.80 M"] in rows
    flops = next(row[1] for row in rows if row[0] == "FLOPs")
    # 1 + 24 * 32 tokens: patches, then 12 blocks of 12 N d^2 and 2 N^2 d
    n, d = 1 + 24 * 32, 768
    expected = 768 * 3 * 256 * d + 12 * (12 * n * d**2 + 2 * n**2 * d)
    assert flops == f"{expected / 1e9:.2f} G (multiply-adds)"
    assert ["11", "768 x 24 x 32", "16"] in rows


def test_own_size_and_all_stages_are_the_defaults(run) -> None:
    _, output, _ = run("swin_t")
    rows = cells(output)
    assert ["input", "3 x 224 x 224"] in rows
    assert [row for row in rows if row[0] in "0123"] == [
        ["0", "96 x 56 x 56", "4"],
        ["1", "192 x 28 x 28", "8"],
        ["2", "384 x 14 x 14", "16"],
        ["3", "768 x 7 x 7", "32"],
    ]
    assert ["input", "3 x 518 x 518"] in cells(run("dinov2_s14")[1])


def test_settings_and_out_indices(run) -> None:
    _, output, _ = run(
        "vit_ti16", "--out-indices", "0", "-1", "depth=2", "--size", "64", "mlp=swiglu"
    )
    rows = cells(output)
    assert ["settings", "depth=2 mlp=swiglu"] in rows
    assert [row[0] for row in rows[-2:]] == ["0", "1"]
    _, output, _ = run("vit_ti16", "out_type=raw", "out_indices=(3, 5)", "--size", "32")
    assert cells(output)[-2:] == [
        ["3", "5 x 192", "-"],
        ["5", "5 x 192", "-"],
    ]


def test_list(run) -> None:
    names = [row[0] for row in cells(run("--list")[1])[1:]]
    assert [name for name in names if name] == list_backbones()
    rows = cells(run("--list", "dinov2_s*")[1])[1:]
    assert [row[:2] for row in rows] == [["dinov2_s14", "22.06 M"], ["dinov2_s14_reg", "22.06 M"]]
    assert "Oquab et al. 2023" in rows[0][2]


@pytest.mark.parametrize(
    "text, value",
    [
        ("2", 2),
        ("(1, 2)", (1, 2)),
        ("swiglu", "swiglu"),
        ("false", False),
        ("none", "none"),
        ("None", None),
    ],
)
def test_values_of_settings(text: str, value: object) -> None:
    assert parse_setting(f"key={text}") == ("key", value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vit_b17"], "there is no preset 'vit_b17', did you mean 'vit_b16'?"),
        ([], "give the name of a preset; --list shows them all"),
        (["--list", "zz*"], "no preset matches 'zz*'"),
        (["vit_b16", "--size", "0"], "--size must be a positive integer or two"),
        (["vit_b16", "--size", "1", "2", "3"], "--size must be a positive integer or two"),
        (["vit_b16", "--size", "100000000"], "images of 100000000 x 100000000 pixels: its tensors"),
        (["swin_t", "--size", "1", "9" * 20], "bytes than torch can count; give a smaller --size"),
        (["vit_b16", "dept=3"], "no setting 'dept', did you mean 'depth'?"),
        (["vit_b16", "depth=three"], "depth must be a positive integer, not 'three'"),
        (["vit_b16", "arch=vit_s16"], "'arch' is no setting"),
        (["swin_t", "--out-indices", "4"], "out_indices [4]: 4 is out of range"),
        (["vit_b16", "--size", "big"], "invalid int value: 'big'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_get_one_message_and_status_2(run, words: list[str], message: str) -> None:
    status, output, errors = run(*words)
    assert status == 2 and output == ""
    assert message in errors and "Traceback" not in errors
