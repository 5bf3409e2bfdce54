"""Parts of many rows, and when they may be used."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vit_backbones.layers import chunks
from vit_backbones.layers.chunks import computes_in_parts, split_rows


@pytest.mark.parametrize(
    ("rows", "width", "sizes"),
    [
        (10, 10, [10]),
        (10, 11, [5, 5]),
        (11, 30, [3, 3, 3, 2]),
        (3, 1000, [1, 1, 1]),
        (0, 10, [0]),
    ],
)
def test_parts_are_few_and_equal(rows, width, sizes, monkeypatch):
    monkeypatch.setattr(chunks, "FLOATS", 100)
    x = torch.arange(2 * rows).reshape(rows, 2)
    parts = split_rows(x, width)
    assert [len(part) for part in parts] == sizes
    assert torch.equal(torch.cat(parts), x)


def test_parts_are_larger_in_training(monkeypatch):
    monkeypatch.setattr(chunks, "FLOATS", 100)
    assert [len(part) for part in split_rows(torch.ones(11, 2), 30, training=True)] == [6, 5]


def test_parts_are_for_what_nobody_watches():
    layers, x = nn.Sequential(nn.Linear(4, 4), nn.GELU()), torch.ones(2, 4)
    assert computes_in_parts(x, layers)
    assert not computes_in_parts(x.double(), layers)
    assert not computes_in_parts(x, nn.Linear(4, 4).double(), layers)
    assert not computes_in_parts(x.to("meta"), layers)
    for register in (
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ):
        handle = getattr(layers[1], register)(lambda *_: None)
        assert not computes_in_parts(x, layers)
        handle.remove()
    assert computes_in_parts(x, layers)
