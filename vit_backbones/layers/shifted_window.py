"""Cutting a map into windows, plain or shifted cyclically, and putting it together again."""

from __future__ import annotations

import operator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .kept import kept
from .window import ceil_div, crop_map, merge_windows, pad_map, partition_windows


class Rows(NamedTuple):
    """Which rows to take.

    Attributes:
        index: (n,) for each row of the result, the row of the source.
        blank: (k,) rows of the result that are zero instead.
    """

    index: Tensor
    blank: Tensor


class WindowPlan(NamedTuple):
    """How a map (h, w) of tokens lies in windows of N = window ** 2 slots.

    Attributes:
        grid: (h, w).
        window: Side of a window in tokens.
        shift: Tokens by which the padded map is rolled up and left.
        split: For each slot, window by window, its place in the map; padding slots are blank.
            None while compiling: a compiler fuses padding, rolling and cutting into what is around
            them, and would sort for these rows at every step.
        join: For each place in the map, row by row, its slot; None likewise.
        mask: (windows, 1, N, N), 0 where two slots may see each other and -100 where they are
            neighbours only through the cyclic shift; None where every window is whole.
    """

    grid: tuple[int, int]
    window: int
    shift: int
    split: Rows | None
    join: Rows | None
    mask: Tensor | None


def fit_window(grid: tuple[int, int], window: int, shifted: bool, pad: bool) -> tuple[int, int]:
    """(window, shift) for a map of ``grid``.

    A window that isn't smaller than the map's shorter side shrinks to that side and isn't shifted,
    as in the authors' classification code. With ``pad`` it stays and the map is padded up to it, as
    in the authors' detection code. The two differ for such small maps alone.
    """
    if not pad and min(grid) <= window:
        # A number to torch.compile, too: it would not trace windows of any size within minutes
        return operator.index(min(grid)), 0
    return window, window // 2 if shifted else 0


@kept(16)  # two sizes of images, two plans for each of four stages; masks of large ones take MB
def plan_windows(
    grid: tuple[int, int], window: int, shift: int, device: torch.device
) -> WindowPlan:
    """The windows of a map (h, w), padded at the bottom and right to whole windows and then rolled
    up and left by ``shift`` (Swin, Liu et al. 2021, section 3.2; padding: the authors' detection
    code, where padding takes part in attention and the mask knows only the shift).
    """
    h, w = grid
    height, width = _padded(grid, window)
    rows = (torch.arange(height, device=device) + shift) % height
    columns = (torch.arange(width, device=device) + shift) % width
    mask = _apart(rows < shift, columns < shift, window) if shift else None
    if torch.compiler.is_compiling():
        return WindowPlan(grid, window, shift, None, None, mask)

    place = _by_window(rows[:, None] * w + columns, window).flatten()
    padding = _by_window((rows[:, None] >= h) | (columns >= w), window).flatten()
    # Of all slots, those in the order of their place; padding goes to the end, in any order.
    order = place.masked_fill(padding, h * w).argsort()
    split = Rows(place.masked_fill(padding, 0), order[h * w :])
    return WindowPlan(grid, window, shift, split, Rows(order[: h * w], order[:0]), mask)


def _apart(wrapped_rows: Tensor, wrapped_columns: Tensor, window: int) -> Tensor:
    """The mask of a plan, from the rows (H,) and columns (W,) that the shift took around."""
    part = _by_window(wrapped_rows[:, None] * 2 + wrapped_columns, window)
    apart = part[:, None, :, None] != part[:, None, None, :]
    mask = torch.zeros(apart.shape, dtype=torch.float32, device=apart.device)
    return mask.masked_fill(apart, -100.0)


def _by_window(x: Tensor, window: int) -> Tensor:
    """(H, W) -> (windows, window ** 2)."""
    H, W = x.shape
    x = x.reshape(H // window, window, W // window, window)
    return x.transpose(1, 2).reshape(-1, window * window)


def split_windows(x: Tensor, plan: WindowPlan) -> Tensor:
    """Tokens of the map (B, h * w, C) -> (B * windows, N, C), zero in the padding."""
    if plan.split is None:
        return _roll_and_split(x, plan)
    slots = _take(x, plan.split, plan.join)
    return slots.reshape(-1, plan.window * plan.window, x.shape[-1])


def join_windows(windows: Tensor, plan: WindowPlan, batch: int) -> Tensor:
    """(B * windows, N, C) -> tokens of the map (B, h * w, C); the padding is dropped."""
    if plan.join is None:
        return _join_and_roll(windows, plan)
    slots = windows.reshape(batch, len(plan.split.index), windows.shape[-1])
    return _take(slots, plan.join, plan.split)


def _roll_and_split(x: Tensor, plan: WindowPlan) -> Tensor:
    x = pad_map(x.unflatten(1, plan.grid), _padded(plan.grid, plan.window))
    if plan.shift:
        x = x.roll((-plan.shift, -plan.shift), (1, 2))
    return partition_windows(x, (plan.window, plan.window))[0]


def _join_and_roll(windows: Tensor, plan: WindowPlan) -> Tensor:
    padded = _padded(plan.grid, plan.window)
    x = merge_windows(windows, (plan.window, plan.window), padded, padded)
    if plan.shift:
        x = x.roll((plan.shift, plan.shift), (1, 2))
    return crop_map(x, plan.grid).flatten(1, 2)


def _padded(grid: tuple[int, int], window: int) -> tuple[int, int]:
    """(h, w) of a map padded to whole windows."""
    h, w = grid
    return ceil_div(h, window) * window, ceil_div(w, window) * window


def blank_slots(plan: WindowPlan) -> Tensor | None:
    """Whether a slot is padding, (windows, N, 1); None where none is."""
    if not plan.split.blank.numel():
        return None
    blank = torch.zeros_like(plan.split.index, dtype=torch.bool)
    return blank.index_fill_(0, plan.split.blank, True).reshape(-1, plan.window**2, 1)


def _take(x: Tensor, there: Rows, back: Rows) -> Tensor:
    # with a jvp for forward-mode derivatives torch.compile would not take the function
    if torch.is_grad_enabled() and x.requires_grad and forward_ad._current_level < 0:
        return _TakeRows.apply(x, *there, *back)
    return _take_rows(x, *there)


def _take_rows(x: Tensor, index: Tensor, blank: Tensor) -> Tensor:
    """(B, n, C) -> (B, m, C)."""
    B, n, C = x.shape
    rows = flat_rows(index, B, n)
    taken = x.reshape(B * n, C).index_select(0, rows)
    return taken.reshape(B, len(index), C).index_fill_(1, blank, 0.0)


def flat_rows(index: Tensor, batch: int, n: int) -> Tensor:
    """(m,) rows of (batch, n, ...), the same in each -> (batch * m,) of (batch * n, ...)."""
    return (index + torch.arange(batch, device=index.device)[:, None] * n).flatten()


class _TakeRows(torch.autograd.Function):
    """Takes rows, each at most once; its gradient takes them back, where autograd would scatter."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, index, blank, back_index, back_blank):
        return _take_rows(x, index, blank)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.rows = inputs[1:]

    @staticmethod
    def backward(ctx, gradient):
        index, blank, back_index, back_blank = ctx.rows
        gradient = _take(gradient, Rows(back_index, back_blank), Rows(index, blank))
        return gradient, None, None, None, None
