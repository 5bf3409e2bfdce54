"""``out_type``, as in mmpretrain: what an encoder of tokens returns of each output."""

from __future__ import annotations

from torch import Tensor

from ..errors import UserError

OUT_TYPES = ("cls_token", "featmap", "avg_featmap", "raw")


def resolve_out_type(out_type: str | None, cls_token: bool) -> str:
    """``out_type``, by default the class token where there is one, else the map.

    Raises:
        UserError: It is none of :data:`OUT_TYPES`, or 'cls_token' where there is no such token.
    """
    if out_type is None:
        return "cls_token" if cls_token else "featmap"
    if out_type not in OUT_TYPES:
        raise UserError(f"out_type must be one of {', '.join(OUT_TYPES)}, not {out_type!r}")
    if out_type == "cls_token" and not cls_token:
        raise UserError("out_type='cls_token' needs an architecture with cls_token=True")
    return out_type


def format_tokens(x: Tensor, grid: tuple[int, int], prefix: int, out_type: str) -> Tensor:
    """(B, prefix + h * w, C) -> (B, C), (B, C, h, w) or the same, by ``out_type``.

    Args:
        grid: (h, w) of the patches.
        prefix: Tokens before those of the patches, the class token first.
    """
    if out_type == "raw":
        return x
    if out_type == "cls_token":
        return x[:, 0]
    patches = x[:, prefix:]
    if out_type == "avg_featmap":
        return patches.mean(dim=1)
    return to_map(patches, grid)


def to_map(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, h * w, C) -> (B, C, h, w), contiguous: convolutions hand the order in memory on, and
    mmcv's compiled RoIAlign gives wrong results on any other."""
    return patches.transpose(1, 2).contiguous().unflatten(2, grid)
