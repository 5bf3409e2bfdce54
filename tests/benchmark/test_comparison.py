"""A comparison: what follows from its samples, who is left out, and what people get to see."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread
from rich.console import Console
from torch import Tensor, nn

from vit_backbones.benchmark import comparison, comparison_report, contender, workload
from vit_backbones.benchmark.comparison import Match, Result, Spread, compare, prepare_match
from vit_backbones.benchmark.contender import OURS, Anatomy
from vit_backbones.benchmark.memory import Usage
from vit_backbones.benchmark.rounds import progress_bar
from vit_backbones.benchmark.workload import Workload, matrix_product
from vit_backbones.errors import UserError

INFER = Workload("infer", (64, 64), batch=4)
TINY = dict(embed_dims=64, depth=1)


def example(mode: str = "infer") -> Match:
    """Ours takes 1, 2, 4 s; timm always twice as long, torchvision 9 s."""
    results = [
        Result(OURS, Anatomy(100, 64, "flash"), [1.0, 2.0, 4.0], 50 * 2**20),
        Result("timm", Anatomy(100, 64, "flash"), [2.0, 4.0, 8.0], 100 * 2**20),
        Result("torchvision", Anatomy(103, 32, "softmax"), [9.0, 9.0, 9.0], 80 * 2**20),
        Result("mmdet", left_out="has no VisionTransformer"),
    ]
    work = Workload(mode, (64, 64), batch=4)
    return Match("vit_b16", {}, work, 500, results, limit_flops=1000, limit_samples=[0.1, 0.2, 0.4])


def test_spread_has_the_quartiles() -> None:
    assert Spread.of([5.0, 1.0, 2.0, 3.0, 4.0]) == Spread(2.0, 3.0, 4.0)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0)


def test_ratios_are_taken_round_by_round() -> None:
    """A busy round slows all alike and leaves the ratio as it is."""
    match = example()
    assert match.best_peer.library == "timm"
    assert match.ratio(match.results[0]) == Spread(2.0, 2.0, 2.0)
    assert match.ratio(match.results[1]) == Spread(1.0, 1.0, 1.0)
    assert match.ratio(match.results[3]) is None
    assert match.memory_ratio(match.results[0]) == pytest.approx(50 / 80)
    assert match.images_per_second(match.results[0]) == 2.0


@pytest.mark.parametrize("mode, passes", [("infer", 1), ("train", 3)])
def test_share_of_the_limit(mode: str, passes: int) -> None:
    """4 images of 500 multiply-adds are 4 products of 1000 FLOPs, 0.4 s of the first round's 1."""
    match = example(mode)
    share = match.share_of_limit(match.results[0])
    assert share.low == share.middle == share.high == pytest.approx(0.4 * passes)
    assert match.limit_ratio() == pytest.approx(2 / (0.4 * passes))


def test_without_peers_there_is_no_ratio() -> None:
    match = example()
    match.results = match.results[:1]
    assert match.best_peer is None and match.ratio(match.results[0]) is None
    assert match.limit_ratio() is None and match.memory_ratio(match.results[0]) is None
    assert "| vit_backbones | 2,000 ±38% | 2.0 | - | 40% | 50 | - |" in (
        comparison_report.markdown(match)
    )


def test_another_network_is_flagged() -> None:
    assert example().mismatches() == [
        "torchvision has +3 parameters against ours",
        "torchvision puts out 32 numbers an image, ours 64",
    ]


class Recorder(nn.Module):
    """Keeps what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.calls: list[tuple] = []

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        out = self.conv(images)
        self.calls.append(
            (self.training, torch.is_inference_mode_enabled(), images.dtype, out.dtype)
        )
        channels_last = images.is_contiguous(memory_format=torch.channels_last)
        assert channels_last and self.conv.weight.is_contiguous(memory_format=torch.channels_last)
        return out, out.mean((2, 3))


@pytest.mark.parametrize(
    "mode, dtype, seen",
    [
        ("infer", "float32", (False, True, torch.float32, torch.float32)),
        ("infer", "bfloat16", (False, True, torch.bfloat16, torch.bfloat16)),
        ("train", "bfloat16", (True, False, torch.float32, torch.bfloat16)),
    ],
)
def test_a_step_does_what_the_workload_says(mode: str, dtype: str, seen: tuple) -> None:
    encoder = Recorder()
    before = encoder.conv.weight.detach().clone()
    step = Workload(mode, (8, 8), 2, dtype, channels_last=True).step(encoder)
    step()
    step()
    assert encoder.calls == [seen, seen]
    assert encoder.conv.weight.grad is None
    trained = not torch.equal(encoder.conv.weight.float(), before)
    assert trained == (mode == "train" or dtype != "float32")  # or rounded


def test_the_training_step_is_adamw_on_the_mean_square() -> None:
    encoder = Recorder()
    reference = Recorder()
    reference.load_state_dict(encoder.state_dict())
    torch.manual_seed(0)
    step = Workload("train", (8, 8), 2, channels_last=True).step(encoder)
    torch.manual_seed(0)
    images = torch.randn(2, 3, 8, 8)
    optimizer = torch.optim.AdamW(reference.parameters(), lr=1e-5)
    for i in range(3):
        out = reference.conv(images)
        loss = out.square().mean() + out.mean((2, 3)).square().mean()
        loss = loss * (i > 0)  # the optimizer's state is made by a step without gradient
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    step()
    step()
    torch.testing.assert_close(encoder.conv.weight, reference.conv.weight, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_limit_is_one_matrix_product(dtype: str, monkeypatch) -> None:
    monkeypatch.setitem(workload.PRODUCT_SIDE, "cpu", 256)
    product, flops = matrix_product("cpu", dtype)
    out = product()
    assert flops == 2 * out.shape[0] ** 3 and out.dtype == workload.DTYPES[dtype]


@pytest.mark.parametrize("faster", ["mm", "linear"])
def test_the_limit_is_the_faster_librarys(faster: str, monkeypatch) -> None:
    """Each is slowed in turn, by far more than they differ."""
    slower = {"mm": (workload, "linear"), "linear": (torch, "mm")}[faster]
    real = getattr(*slower)

    def slow(*args, **kwargs) -> Tensor:
        time.sleep(0.05)
        return real(*args, **kwargs)

    monkeypatch.setitem(workload.PRODUCT_SIDE, "cpu", 16)
    monkeypatch.setattr(*slower, slow)
    product, _ = matrix_product("cpu", "float32")
    start = time.perf_counter()
    product()
    assert time.perf_counter() - start < 0.05


def run(monkeypatch, match: Match, rounds: int, memory: Callable) -> None:
    monkeypatch.setattr(comparison, "measure_alone", memory)
    with progress_bar(disable=True) as progress:
        assert list(compare([match], rounds, progress)) == [match]
        assert progress.tasks[0].percentage == pytest.approx(100)


def test_a_real_comparison(monkeypatch) -> None:
    """Who lacks the encoder is left out beforehand, who runs out of memory from then on."""
    match = prepare_match("vit_ti16", INFER, ["timm", "torchvision", "mmdet"], TINY)
    patches = 64 * 3 * 16 * 16 * 16
    block = 17 * 12 * 64**2 + 2 * 17**2 * 64
    assert match.flops == patches + block

    def memory(prepare, device: str) -> Usage:
        if prepare.__self__.library == "torchvision":
            raise MemoryError
        return Usage(0.1, 2**20)

    run(monkeypatch, match, 2, memory)
    ours, timm, torchvision, mmdet = match.results
    assert [len(r.samples) for r in match.results] == [2, 2, 0, 0]
    assert len(match.limit_samples) == 2
    assert (torchvision.left_out, mmdet.left_out) == (
        "out of memory",
        "has no VisionTransformer",
    )
    assert ours.anatomy == timm.anatomy and match.mismatches() == []
    assert 0 < match.share_of_limit(ours).middle < 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("mode", ["infer", "train"])
def test_on_a_gpu(mode: str) -> None:
    work = Workload(mode, (64, 64), batch=4, dtype="bfloat16", device="cuda")
    match = prepare_match("vit_ti16", work, ["timm"], TINY)
    with progress_bar(disable=True) as progress:
        list(compare([match], 2, progress))
    for result in match.results:
        assert result.left_out == "" and result.peak_bytes > 0
        assert 0 < match.share_of_limit(result).middle < 1


def test_a_size_that_a_peer_refuses_or_cuts() -> None:
    work = Workload("infer", (60, 60), 1)
    match = prepare_match("vit_ti16", work, ["timm", "torchvision", "mmpretrain"], TINY)
    ours, _, torchvision, mmpretrain = match.results
    assert not ours.left_out and not mmpretrain.left_out
    assert torchvision.left_out.startswith("can't build it (AssertionError: Input shape")
    assert f"timm puts out {10 * 64} numbers an image, ours 1,088" in match.mismatches()


class Failing(nn.Linear):
    def forward(self, images: Tensor) -> tuple[Tensor]:
        raise RuntimeError("no kernel for this")


def test_a_peer_that_fails_is_left_out(monkeypatch) -> None:
    monkeypatch.setattr(contender, "build_peer", lambda *_: Failing(1, 1))
    match = prepare_match("vit_ti16", INFER, ["timm"], TINY)
    assert match.results[1].left_out == (
        "can't take inference, 64x64, batch 4, float32 (RuntimeError: no kernel for this)"
    )


def test_mistakes_in_models_and_settings_end_it() -> None:
    with pytest.raises(UserError, match="did you mean 'vit_b16'"):
        prepare_match("vit_b17", INFER, [], {})
    with pytest.raises(UserError, match="did you mean 'depth'"):
        prepare_match("vit_b16", INFER, [], dict(dept=2))


def test_markdown() -> None:
    text = comparison_report.markdown(example())
    assert text.startswith("**vit_b16, inference, 64x64, batch 4, float32, 5e-07 GFLOPs an image**")
    ours, timm, torchvision = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert ours == "| vit_backbones | 2,000 ±38% | 2.0 | 2.00 | 40% | 50 | 0.62 | 0.00 M |"
    assert timm == "| timm | 4,000 ±38% | 1.0 | 1.00 | 20% | 100 | 1.25 | 0.00 M |"
    assert torchvision.startswith("| torchvision | 9,000 | 0.4")
    assert "- vit_b16, infer: attention by flash: vit_backbones, timm; softmax: torchvision" in text
    assert "- vit_b16, infer: mmdet left out: has no VisionTransformer" in text


def test_the_tables_fit_a_terminal_of_80_columns() -> None:
    match = example()
    match.results[2].samples = [35.0, 34.0, 33.0]
    match.results[0].anatomy = Anatomy(303_456_789, 64, "flash")
    console = Console(width=80, record=True, file=io.StringIO())
    for part in comparison_report.terminal(match):
        console.print(part)
    text = console.export_text()
    assert "…" not in text
    for words in ("vit_backbones", "34,000 ±1%", "2,000 ±38%", "303.46 M", "memory"):
        assert words in text


def test_json_holds_every_sample(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    comparison_report.save_json(path, [example()], dict(command="it"))
    saved = json.loads(path.read_text())
    assert saved["command"] == "it"
    (match,) = saved["matches"]
    assert match["best_peer"] == "timm" and match["limit"]["samples"] == [0.1, 0.2, 0.4]
    assert match["workload"]["size"] == [64, 64]
    ours, *_, mmdet = match["contenders"]
    assert ours["samples"] == [1.0, 2.0, 4.0] and ours["peak_bytes"] == 50 * 2**20
    assert ours["ratio_to_best_peer"] == dict(low=2.0, middle=2.0, high=2.0)
    assert ours["params"] == 100 and ours["attention"] == "flash"
    assert mmdet["left_out"] == "has no VisionTransformer" and mmdet["samples"] == []


def test_plot_has_a_bar_for_each_contender(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    comparison_report.save_plot(path, [example(), example("train")], "a footer")
    colours = (imread(path)[..., :3] * 255).round()

    def pixels(colour: str) -> int:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return (colours == rgb).all(-1).sum()

    ours, peers = pixels(comparison_report.OUR_COLOUR), pixels(comparison_report.PEER_COLOUR)
    assert peers > 0 and ours / peers == pytest.approx(2 / (1 + 4 / 9), rel=0.1)
    assert pixels(comparison_report.LIMIT_COLOUR) > 100
