"""The model that a run's wrappers hold."""

from __future__ import annotations

from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """``model`` without DistributedDataParallel, FSDP and test-time augmentation around it."""
    while isinstance(inner := getattr(model, "module", None), nn.Module):
        model = inner
    return model
