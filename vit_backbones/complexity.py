"""Parameters, multiply-adds and activations of an encoder at an input size, counted without
computing."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from .backbones.base import Backbone


@dataclass(frozen=True)
class Complexity:
    """What one forward pass of one image costs.

    Attributes:
        params: Number of parameters.
        flops: Multiply-adds of convolutions, linear layers and matrix products, the papers'
            "FLOPs": those of the definition, also where a faster form does other arithmetic
            (:func:`~vit_backbones.layers.relative.fold_decomposed_bias`).
        activations: Elements that these operations put out, attention weights included (Dollár et
            al. 2021, section 3).
        outputs: Shapes of the feature maps, without the batch dimension.
    """

    params: int
    flops: int
    activations: int
    outputs: tuple[tuple[int, ...], ...]


def count(model: Backbone, size: tuple[int, int]) -> Complexity:
    """Count on the meta device: any model and size, in a moment, without memory.

    Args:
        model: An encoder, on any device; it is left as it is.
        size: (H, W) of the image in pixels.
    """
    meta = copy.deepcopy(model).to("meta").eval()
    images = torch.empty(1, model.in_channels, *size, device="meta")
    flop_counter, activation_counter = FlopCounterMode(display=False), _ActivationCounter()
    with torch.no_grad(), flop_counter, activation_counter:
        outputs = meta(images)
    return Complexity(
        params=sum(p.numel() for p in model.parameters()),
        flops=flop_counter.get_total_flops() // 2,
        activations=activation_counter.total,
        outputs=tuple(tuple(out.shape[1:]) for out in outputs),
    )


class _ActivationCounter(TorchDispatchMode):
    """Adds up the elements that convolutions and matrix products put out."""

    COUNTED = frozenset(
        {
            torch.ops.aten.mm,
            torch.ops.aten.addmm,
            torch.ops.aten.bmm,
            torch.ops.aten.baddbmm,
            torch.ops.aten.convolution,
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in self.COUNTED and isinstance(out, Tensor):
            self.total += out.numel()
        return out
