"""Sweeps over sizes: exponents, budgets, and what people get to see of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib.image import imread

from vit_backbones.benchmark import scaling
from vit_backbones.benchmark.memory import Usage
from vit_backbones.benchmark.rounds import progress_bar
from vit_backbones.benchmark.scaling import Budget, Curve, Point, fit_exponent, predict, sweep
from vit_backbones.benchmark.scaling_report import markdown, reasons, save_json, save_plot

SIZES = [10, 100, 1000]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_exponent_of_a_power_law(exponent: float) -> None:
    assert fit_exponent(SIZES, [3 * s**exponent for s in SIZES]) == pytest.approx(exponent)


def test_prediction_goes_on_with_the_last_growth_but_never_slower_than_linear() -> None:
    assert predict([10, 100], [1, 100], 1000) == pytest.approx(10_000)
    assert predict([1, 10, 100], [1, 1, 100], 200) == pytest.approx(400)
    assert predict([10, 100], [5, 5], 1000) == pytest.approx(50)
    assert predict([10], [1], 30) == pytest.approx(9)


def curve(label: str = "square", exponent: float = 2.0) -> Curve:
    points = [Point(s, [s**exponent / 1e3] * 3, int(s * 2**20)) for s in SIZES]
    return Curve(label, [*points, Point(10_000, not_run="out of memory")])


def test_curve_takes_the_median_and_fits_from_a_size_up() -> None:
    measured = curve()
    measured.points[0].samples = [7.0, 1.0, 90.0]
    assert measured.points[0].seconds == 7.0
    assert measured.exponent("seconds", smallest=100) == pytest.approx(2)
    assert measured.exponent("seconds") < 1.5
    assert measured.exponent("peak_bytes") == pytest.approx(1)
    assert measured.exponent("seconds", smallest=1000) is None


def run_sweep(monkeypatch, budget: Budget, needs) -> tuple[list[Curve], list[tuple[str, int]]]:
    """``needs(label, size)`` is the Usage of a run, or an error; also the steps, in order. Each
    takes a second by the clock."""
    steps = []

    def measure(prepare, size: int, device: str) -> Usage:
        usage = needs(prepare.__name__, size)
        if isinstance(usage, Exception):
            raise usage
        return usage

    def timer(step, repeats: int) -> float:
        step()
        return 1.0

    def contender(label: str):
        def prepare(size: int):
            return lambda: steps.append((label, size))

        prepare.__name__ = label
        return prepare

    monkeypatch.setattr(scaling, "measure_alone", measure)
    monkeypatch.setattr(scaling, "timer_for", lambda device: timer)
    contenders = {label: contender(label) for label in ("slow", "quick")}
    with progress_bar(disable=True) as progress:
        curves = sweep(contenders, SIZES, 2, budget, progress)
    return curves, steps


def test_all_sizes_and_contenders_are_measured(monkeypatch) -> None:
    curves, steps = run_sweep(
        monkeypatch, Budget(1e9, 1e9), lambda label, size: Usage(1.0, 7 * size)
    )
    assert {steps.count((label, size)) for label in ("slow", "quick") for size in SIZES} == {4}
    assert [p.samples for c in curves for p in c.points] == [[1.0, 1.0]] * 6
    assert [p.peak_bytes for p in curves[0].points] == [70, 700, 7000]


@pytest.mark.parametrize(
    "budget, reason",
    [
        (Budget(0.05, 1e9), "a run would take more than 0.05 s"),
        (Budget(1e9, 5e5), "a run would need more than 0.0 GiB"),
    ],
)
def test_what_exceeds_the_budget_is_not_run(monkeypatch, budget: Budget, reason: str) -> None:
    def needs(label: str, size: int) -> Usage:
        assert (label, size) != ("slow", 1000), "this should not have been run"
        power = 2 if label == "slow" else 1
        return Usage(size**power / 1e6, size**power)

    (slow, quick), steps = run_sweep(monkeypatch, budget, needs)
    assert [p.not_run for p in slow.points] == ["", "", reason]
    assert not any(p.not_run for p in quick.points)
    assert ("slow", 1000) not in steps and ("quick", 1000) in steps
    assert slow.points[2].seconds is None and slow.points[2].peak_bytes is None


def test_a_refusal_by_one_size_alone_says_so(monkeypatch) -> None:
    budget = Budget(1e9, 500)  # bytes; the square of 100 / 10 makes 10 of them 1,000
    (slow, _), _ = run_sweep(monkeypatch, budget, lambda label, size: Usage(1.0, size))
    assert slow.points[1].not_run == (
        "a run would need more than 0.0 GiB if it grew with the square; a size between would tell"
    )


def test_larger_sizes_than_one_that_failed_are_not_run(monkeypatch) -> None:
    tried = []

    def needs(label: str, size: int) -> Usage | Exception:
        tried.append((label, size))
        return MemoryError() if (label, size) == ("slow", 100) else Usage(1.0, size)

    (slow, _), _ = run_sweep(monkeypatch, Budget(1e9, 1e9), needs)
    assert [p.not_run for p in slow.points] == ["", "out of memory", "out of memory"]
    assert ("slow", 1000) not in tried and ("quick", 1000) in tried


def test_a_size_that_a_contender_refuses_is_told(monkeypatch) -> None:
    def needs(label: str, size: int) -> Usage | Exception:
        refused = (label, size) == ("slow", 10)
        return RuntimeError("NotOffered: has no MViT") if refused else Usage(1.0, size)

    (slow, quick), _ = run_sweep(monkeypatch, Budget(1e9, 1e9), needs)
    assert [p.not_run for p in slow.points] == ["NotOffered: has no MViT"] * 3
    assert quick.points[2].samples


def test_markdown() -> None:
    curves, stated = [curve(), curve("line", 1.0)], dict(square="n²", line="n")
    text = markdown(curves, 10, "By hand.", stated=stated)
    assert text.startswith("| Time, ms | 10 | 100 | 1,000 | 10,000 | exponent | definition |\n")
    assert "| square | 100 | 10,000 | 1,000,000 | not run | 2.00 | n² |" in text
    assert "| line | 10 | 100 | 1,000 | not run | 1.00 | n |" in text
    assert "| line | 10 | 100 | 1,000 | not run | 1.00 |\n" in text  # its memory
    assert text.endswith("\n\nBy hand.\n")
    tables = [part.splitlines() for part in text.split("\n\n")[:2]]
    assert all(len({row.count("|") for row in table}) == 1 for table in tables)


def test_markdown_without_definitions_and_with_names_of_sizes() -> None:
    text = markdown([curve()], 10, "By hand.", size_name="{} px".format)
    assert text.startswith("| Time, ms | 10 px | 100 px | 1000 px | 10000 px | exponent |\n")


def test_reasons_are_told() -> None:
    assert reasons([curve()]) == ["square at 10,000: not run, out of memory"]
    assert reasons([curve()], "{} px".format) == ["square at 10000 px: not run, out of memory"]


def test_json_holds_every_round(tmp_path: Path) -> None:
    save_json(tmp_path / "all.json", [curve()], 10, dict(command="it"))
    saved = json.loads((tmp_path / "all.json").read_text())
    assert saved["command"] == "it"
    (contender,) = saved["contenders"]
    assert contender["exponents"]["seconds"] == pytest.approx(2)
    assert contender["points"][1]["samples"] == [10.0] * 3
    assert contender["points"][3]["not_run"] == "out of memory"


def test_plot_draws_every_curve(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    save_plot(path, [curve(), curve("line", 1.0)], 10, "Title", "tokens")
    colours = (imread(path)[..., :3] * 255).round()
    for colour in ([0x00, 0x00, 0x00], [0xE6, 0x9F, 0x00]):
        assert (colours == colour).all(-1).sum() > 500  # pixels of a line
