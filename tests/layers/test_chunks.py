"""Parts of many rows, and when they may be used."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vit_backbones.layers import chunks
from vit_backbones.layers.chunks import computes_in_parts, split_mlp_rows, split_rows


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


@pytest.mark.parametrize(
    "training, least, sizes",
    [(False, 1, [3, 3, 3, 2]), (True, 1, [6, 5]), (False, 8, [6, 5]), (True, 11, [11])],
)
def test_parts_of_an_mlp_are_larger_in_training_and_not_too_few_rows(
    training, least, sizes, monkeypatch
):
    monkeypatch.setattr(chunks, "FLOATS", 100)
    monkeypatch.setattr(chunks, "MLP_ROWS", least)
    parts = split_mlp_rows(torch.ones(11, 2), 30, training)
    assert [len(part) for part in parts] == sizes


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
