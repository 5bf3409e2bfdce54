"""Fixed position embeddings against the papers' formulas, and resizing."""

from __future__ import annotations

import math

import pytest
import torch

from vit_backbones import UserError
from vit_backbones.layers.position import (
    PosInterpolation,
    check_interpolation,
    resize_pos_embed,
    sincos_2d,
    sinusoid_1d,
)


def test_sinusoid_is_vaswanis() -> None:
    """PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i + 1) = cos of the same."""
    length, dim = 50, 12
    table = sinusoid_1d(length, dim)
    assert table.shape == (length, dim) and table.dtype == torch.float32
    for pos in range(length):
        for channel in range(dim):
            angle = pos / 10000 ** (2 * (channel // 2) / dim)
            expected = math.cos(angle) if channel % 2 else math.sin(angle)
            assert table[pos, channel].item() == pytest.approx(expected, abs=1e-6)


def test_sinusoid_of_odd_width_leaves_the_last_cosine_out() -> None:
    assert sinusoid_1d(4, 5).shape == (4, 5)


def test_sincos_is_maes() -> None:
    """Half the channels from the column and half from the row; sines first, then cosines, of
    position / 10000^(4i/d)."""
    (h, w), dim = (3, 5), 16
    table = sincos_2d((h, w), dim)
    assert table.shape == (h * w, dim)
    for patch in range(h * w):
        for channel in range(dim):
            place = patch % w if channel < dim // 2 else patch // w
            i = channel % (dim // 2)
            function, i = (math.sin, i) if i < dim // 4 else (math.cos, i - dim // 4)
            expected = function(place / 10000 ** (4 * i / dim))
            assert table[patch, channel].item() == pytest.approx(expected, abs=1e-6)


def test_own_grid_is_left_alone() -> None:
    pos = torch.randn(1, 6, 4)
    assert resize_pos_embed(pos, (2, 3), (2, 3)) is pos


@pytest.mark.parametrize(
    "how",
    [
        PosInterpolation(),
        PosInterpolation(antialias=True),
        PosInterpolation("bilinear", align_corners=True),
        PosInterpolation("nearest"),
        PosInterpolation(offset=0.1),
    ],
    ids=str,
)
def test_rows_and_columns_are_not_mixed_up(how: PosInterpolation) -> None:
    """A table that depends on the row only still does so afterwards."""
    by_row = torch.randn(3, 1, 2).expand(3, 4, 2).reshape(1, 12, 2)
    resized = resize_pos_embed(by_row, (3, 4), (7, 6), how).reshape(7, 6, 2)
    torch.testing.assert_close(resized, resized[:, :1].expand(7, 6, 2))
    assert (resized[0] - resized[-1]).abs().min() > 1e-3


@pytest.mark.parametrize("size", range(1, 80))
def test_dinos_offset_never_misses_the_size(size: int) -> None:
    """torch rounds size times factor down."""
    pos = torch.randn(1, 37 * 37, 1)
    how = PosInterpolation(offset=0.1)
    assert resize_pos_embed(pos, (37, 37), (size, 80 - size), how).shape[1] == size * (80 - size)


def test_double_precision_is_kept() -> None:
    pos = torch.randn(1, 6, 4, dtype=torch.float64)
    half = resize_pos_embed(pos.float(), (2, 3), (5, 4))
    resized = resize_pos_embed(pos, (2, 3), (5, 4))
    assert resized.dtype == torch.float64 and not torch.equal(resized, half.double())
    exact = torch.nn.functional.interpolate(
        pos.unflatten(1, (2, 3)).permute(0, 3, 1, 2), size=(5, 4), mode="bicubic"
    )
    torch.testing.assert_close(resized, exact.flatten(2).mT, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_fixed_positions_have_the_default_precision(dtype: torch.dtype) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        assert sinusoid_1d(3, 4).dtype == sincos_2d((2, 3), 4).dtype == dtype
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(offset=5.0), "offset must be at least 0 and less than 1, not 5.0"),
        (dict(offset="a"), "offset must be at least 0 and less than 1, not 'a'"),
        (dict(antialias="no"), "antialias must be True or False, not 'no'"),
    ],
)
def test_fields_that_cannot_work(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"pos_interpolation: {message}"):
        check_interpolation(fields)


def test_half_precision_is_resized_in_float32() -> None:
    pos = torch.randn(1, 16, 4).bfloat16()
    resized = resize_pos_embed(pos, (4, 4), (6, 6))
    assert resized.dtype == torch.bfloat16
    assert torch.equal(resized, resize_pos_embed(pos.float(), (4, 4), (6, 6)).bfloat16())
