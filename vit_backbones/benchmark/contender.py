"""One encoder in a comparison: ours or another library's, as something that can be sent to another
process, built, looked at and run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..backbones.base import Backbone
from ..backbones.presets import build_backbone, get_preset
from ..registry import MODELS
from .peers import build_peer
from .rounds import Step
from .workload import DTYPES, Workload

OURS = "vit_backbones"


@dataclass(frozen=True)
class Contender:
    """An implementation of an encoder, and what it has to do.

    Attributes:
        model: One of our presets.
        workload: What it has to do.
        library: Whose implementation.
        settings: Of the architecture, on top of the preset's, for all libraries. Stochastic depth
            is off unless it is among them.
    """

    model: str
    workload: Workload
    library: str = OURS
    settings: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """The encoder with random weights, on the CPU, in float32.

        Raises:
            UserError: No such preset or setting.
            NotOffered: The library has no such encoder.
        """
        if self.library == OURS:
            return our_encoder(self.model, self.workload, self.settings)
        with torch.device("meta"):
            model = our_encoder(self.model, self.workload, self.settings)
        return build_peer(self.library, model, self.workload.maps)

    def step(self) -> Step:
        return self.workload.step(self.build())

    def step_alone(self) -> Step:
        """Likewise in a process of its own, where the libraries are yet to be set up, and compiled
        where that is asked for: neither is the step's own memory."""
        step = self.step()
        _set_up(self.workload)
        if self.workload.compile:
            step()
        return step

    def __call__(self, pixels: int) -> Step:
        """:meth:`step_alone` on square images of so many pixels."""
        workload = replace(self.workload, size=(isqrt(pixels),) * 2)
        return replace(self, workload=workload).step_alone()


def our_encoder(name: str, workload: Workload, settings: Mapping[str, Any]) -> Backbone:
    """The preset with position parameters for the measured size. It puts out all tokens of the last
    block or stage after its norm, or the maps of all stages. A plain ViT has one map either way."""
    preset = get_preset(name)
    takes = inspect.signature(MODELS.get(preset.type)).parameters
    merged = {**preset.settings, **settings}
    options: dict[str, Any] = dict(img_size=workload.size, drop_path_rate=0.0)
    if merged.get("pretrain_img_size") is not None:
        options["pretrain_img_size"] = None
    if preset.type == "VisionTransformer":
        options["out_type"] = "raw" if merged.get("cls_token", True) else "featmap"
    elif workload.maps:
        if "out_type" in takes:
            options["out_type"] = "featmap"
        with torch.device("meta"):
            stages = len(build_backbone(name, **settings).arch.depths)
        options["out_indices"] = range(stages)
    elif "out_type" in takes:
        options["out_type"] = "raw"
    return build_backbone(name, **{**options, **settings})


@dataclass(frozen=True)
class Anatomy:
    """What a look at an encoder shows.

    Attributes:
        params: Number of parameters.
        elements: Numbers that it puts out for an image.
        attention: The kernels that its attention runs on: 'flash', 'efficient', 'cudnn' (of
            scaled_dot_product_attention), 'native' (of nn.MultiheadAttention), or 'softmax' for
            matrix products with a softmax of their own between them.
    """

    params: int
    elements: int
    attention: str


def look_at(encoder: nn.Module, workload: Workload) -> Anatomy:
    """Run it, not compiled, on one image."""
    workload.settle(encoder)
    kernels = _AttentionKernels()
    mixed = workload.mode == "train" and workload.dtype != "float32"
    # no_grad, not inference_mode, in which attention isn't yet taken apart where the kernels show
    with (
        torch.set_grad_enabled(workload.mode == "train"),
        torch.autocast(workload.device, DTYPES[workload.dtype], enabled=mixed),
        kernels,
    ):
        outputs = encoder(workload.images(batch=1))
    return Anatomy(
        sum(p.numel() for p in encoder.parameters()),
        sum(out.numel() for out in outputs),
        ", ".join(sorted(kernels.found)),
    )


class _AttentionKernels(TorchDispatchMode):
    KNOWN = {
        "scaled_dot_product_flash": "flash",
        "scaled_dot_product_fused": "efficient",
        "scaled_dot_product_efficient": "efficient",
        "scaled_dot_product_cudnn": "cudnn",
        "native_multi_head_attention": "native",
        "softmax": "softmax",
    }

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        self.found |= {label for part, label in self.KNOWN.items() if part in name}
        return func(*args, **(kwargs or {}))


def _set_up(workload: Workload) -> None:
    """Have torch start its threads and load its kernels, on something tiny."""
    layer = nn.Sequential(
        nn.Conv2d(3, 8, 4, 4), nn.Flatten(2), nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU()
    )
    tiny = replace(workload, size=(16, 16), batch=1, channels=3, compile=False)

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, images: Tensor) -> tuple[Tensor]:
            x = self.layer(images)
            return (nn.functional.scaled_dot_product_attention(x, x, x) @ x.mT,)

    tiny.step(Tiny())()
