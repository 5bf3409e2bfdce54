"""Regularisers that drop whole parts: residual branches (DropPath) and patches (PatchDrop)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .linear import has_hooks


class DropPath(nn.Module):
    """Stochastic depth per sample (Huang et al. 2016): in training, the residual branch of a random
    share ``rate`` of the samples is zero and the others are divided by ``1 - rate``.

    Args:
        rate: Probability of dropping, 0 <= rate < 1.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"the drop rate must be at least 0 and less than 1, not {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if self.rate == 0.0 or not self.training:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * (mask / keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3g}"


def add_branch(x: Tensor, branch: Callable[[Tensor], Tensor], drop_path: nn.Module) -> Tensor:
    """``x + drop_path(branch(x))`` for a branch that treats samples apart and keeps their shape; it
    isn't computed for samples that drop it."""
    is_plain = type(drop_path) is DropPath and not has_hooks(drop_path)
    if is_plain and (drop_path.rate == 0.0 or not drop_path.training):
        return x + branch(x)
    if (
        not is_plain
        or torch.compiler.is_compiling()  # a graph has one shape, whatever is drawn
        or torch._C._functorch.maybe_current_level()
        or x.shape[0] == 0
    ):
        return x + drop_path(branch(x))
    keep = 1.0 - drop_path.rate
    kept = torch.rand(x.shape[0], device="cpu") < keep  # so that no device is waited for
    # One sample stays, times zero, where all are dropped: parameters keep their gradients.
    rows = kept.nonzero().flatten() if kept.any() else kept.new_zeros(1, dtype=torch.long)
    factor = float(kept.any()) / keep
    if len(rows) == x.shape[0]:
        return torch.add(x, branch(x), alpha=factor)
    rows = rows.to(x.device, non_blocking=True)
    added = branch(x.index_select(0, rows))
    dtype = torch.promote_types(x.dtype, added.dtype)  # under autocast they may differ
    return x.to(dtype).index_add(0, rows, added.to(dtype), alpha=factor)


class PatchDrop(nn.Module):
    """Keep a random subset of the patches of each sample in training (PatchDropout, Liu et al.
    2022).

    Args:
        rate: Share of the patches that is dropped, 0 <= rate < 1; at least one patch is kept.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"the patch drop rate must be at least 0 and less than 1, not {rate}")
        self.rate = rate

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, N, C) -> the kept patches (B, n, C) in their order, and their indices (B, n) or None
        for all."""
        if self.rate == 0.0 or not self.training:
            return patches, None
        B, N, C = patches.shape
        n = max(1, round(N * (1.0 - self.rate)))
        kept = torch.rand(B, N, device=patches.device).argsort(dim=1)[:, :n].sort(dim=1).values
        return patches.gather(1, kept[..., None].expand(-1, -1, C)), kept

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3g}"


def drop_path_rates(rate: float, depth: int, uniform: bool = False) -> list[float]:
    """``rate`` for every block, or stochastic depth's linear decay rule: 0 for the first block,
    ``rate`` for the last."""
    if uniform:
        return [rate] * depth
    return [rate * i / max(depth - 1, 1) for i in range(depth)]
