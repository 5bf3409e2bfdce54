"""tools/benchmark_data.py: made-up photographs, the loader's rate and the model's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.command import command, options
from vit_backbones.benchmark.data_loading import SIZE, make_photographs

TINY = options(
    "model.backbone.embed_dims=32",
    "model.backbone.depth=1",
    "model.backbone.num_heads=2",
    "model.head.in_channels=32",
)


def test_photographs_are_laid_out_as_imagenet_and_as_large(tmp_path: Path) -> None:
    make_photographs(tmp_path, different=2)
    files = sorted((tmp_path / "train").rglob("*.JPEG"))
    assert len(files) == len({path.parent for path in files}) == 1000
    assert len({path.read_bytes() for path in files}) == 2
    assert 60e3 < files[0].stat().st_size < 160e3
    assert Image.open(files[0]).size == SIZE


def test_both_rates_are_printed() -> None:
    words = ["--batch", 4, "--seconds", 0.2, "--steps", 1]
    result = command("benchmark_data", "vit_b16_imagenet", *words, *TINY)
    assert result.status == 0, result.err
    loaded = float(re.search(r"One worker loads (\S+) images/s", result.out)[1])
    trained, needed = re.search(r"trains (\S+) images/s.*: (\d+) of the", result.out).groups()
    assert loaded > 1 and float(trained) > 1
    assert abs(int(needed) - float(trained) / loaded) < 1.5
    total = float(re.search(r"Those 10, .* up to (\d+) images/s", result.out)[1])
    assert total == pytest.approx(10 * loaded, abs=6)


def test_what_is_no_classifier_is_refused() -> None:
    result = command("benchmark_data", "mask_rcnn_vit_digits")
    assert result.status == 2 and "trains no classifier" in result.err
