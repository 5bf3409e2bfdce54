"""Decomposed relative position: a bias for the row distance plus one for the column distance."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .window import ceil_div


def resize_table(table: Tensor, length: int) -> Tensor:
    """A table of another size, linearly interpolated along the distances: (L, D) -> (length, D).

    The arithmetic is at least in float32.
    """
    if table.shape[0] == length:
        return table
    precise = table.to(torch.promote_types(table.dtype, torch.float32))
    resized = F.interpolate(precise.T[None], size=length, mode="linear")
    return resized[0].T.to(table.dtype)


def resize_tables_on_load(
    module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_
) -> None:
    """A ``load_state_dict`` pre-hook: fit ``rel_pos_h`` and ``rel_pos_w`` of a file made for
    another input size."""
    for name in ("rel_pos_h", "rel_pos_w"):
        table, own = state_dict.get(prefix + name), getattr(module, name)
        if table is not None and table.ndim == 2 and table.shape[1] == own.shape[1]:
            state_dict[prefix + name] = resize_table(table, own.shape[0])


def relative_table(table: Tensor, q_size: int, k_size: int) -> Tensor:
    """The embedding of each (query, key) distance along one axis: (L, D) -> (q_size, k_size, D).

    A table made for other sizes is resized linearly. Where queries and keys are pooled differently,
    distances count in units of the finer of the two (MViTv2, Li et al. 2022, section 4.1; ViTDet's
    code, too).
    """
    table = resize_table(table, 2 * max(q_size, k_size) - 1)
    q = torch.arange(q_size, device=table.device)[:, None] * max(k_size / q_size, 1.0)
    k = torch.arange(k_size, device=table.device)[None, :] * max(q_size / k_size, 1.0)
    distance = (q - k) + (k_size - 1) * max(q_size / k_size, 1.0)
    return table[distance.long()]


def decomposed_bias(
    q: Tensor,
    rel_pos_h: Tensor,
    rel_pos_w: Tensor,
    q_grid: tuple[int, int],
    k_grid: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """q.Rh for each row of the keys and q.Rw for each column: queries (B, heads, qh * qw, head_dim)
    -> (B, heads, qh * qw, kh) and (B, heads, qh * qw, kw)."""
    patches = q.unflatten(2, q_grid)
    by_row = relative_table(rel_pos_h, q_grid[0], k_grid[0]).to(q.dtype)
    by_column = relative_table(rel_pos_w, q_grid[1], k_grid[1]).to(q.dtype)
    bias_h = torch.einsum("bnhwc,hkc->bnhwk", patches, by_row).flatten(2, 3)
    bias_w = torch.einsum("bnhwc,wkc->bnhwk", patches, by_column).flatten(2, 3)
    return bias_h, bias_w


def fold_decomposed_bias(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_pos_h: Tensor,
    rel_pos_w: Tensor,
    q_grid: tuple[int, int],
    k_grid: tuple[int, int],
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Write the decomposed relative position bias into queries and keys.

    The logits of ViTDet and MViTv2 are ``scale q.k + q.Rh[row distance] + q.Rw[column distance]``,
    which is the inner product of [scale q, q.Rh, q.Rw] with [k, onehot(row of k), onehot(column of
    k)]. So the N x N bias never exists, and memory grows with N.

    Args:
        q, k, v: (B, heads, tokens, head_dim); tokens are any prefix tokens, which take no part in
            the bias, and then the grid in row-major order.
        rel_pos_h, rel_pos_w: Tables (L, head_dim), see :func:`relative_table`.
        q_grid, k_grid: (h, w) of the queries and of the keys.
        scale: The attention's 1 / sqrt(head_dim).

    Returns:
        q, k, v of a common wider head, v padded with zeros (attention kernels want one width, a
        multiple of 8: others would make all scores on a GPU): call
        ``scaled_dot_product_attention(q, k, v, scale=1.0)[..., :head_dim]``. On the meta device, of
        the width that they have, so that multiply-adds counted there are those of the definition.
    """
    B, heads, _, _ = q.shape
    kh, kw = k_grid
    prefix = q.shape[2] - q_grid[0] * q_grid[1]
    bias_h, bias_w = decomposed_bias(q[:, :, prefix:], rel_pos_h, rel_pos_w, q_grid, k_grid)
    if q.device.type == "meta":
        # Nothing is computed here, only counted (complexity.py): the definition has no wider heads.
        return q * scale, k, v
    width = q.shape[-1] + kh + kw
    extra = ceil_div(width, 8) * 8 - width  # columns of no key
    bias = torch.cat([bias_h, bias_w, bias_w.new_zeros(*bias_w.shape[:-1], extra)], dim=-1)

    # not by F.one_hot, of which torch.compile would make a graph for each size
    cell = torch.arange(kh * kw, device=k.device)[:, None]
    rows, columns = (torch.arange(n, device=k.device) for n in (kh, kw + extra))
    onehot = torch.cat([cell // kw == rows, cell % kw == columns], dim=-1).to(k.dtype)
    k_prefix = k.shape[2] - kh * kw
    # not by a width of 0: compiled for varying sizes, that fails in the gradient (torch 2.12)
    if prefix:
        bias = F.pad(bias, (0, 0, prefix, 0))
    if k_prefix:
        onehot = F.pad(onehot, (0, 0, k_prefix, 0))

    q = torch.cat([q * scale, bias], dim=-1)
    k = torch.cat([k, onehot.expand(B, heads, -1, -1)], dim=-1)
    return q, k, F.pad(v, (0, kh + kw + extra))
