"""What a model puts out for fixed random images, as a list of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones.base import Backbone

SAMPLES = {
    "mmpretrain": ("mmpretrain.structures", "DataSample"),
    "mmdet": ("mmdet.structures", "DetDataSample"),
    "mmseg": ("mmseg.structures", "SegDataSample"),
}


@torch.no_grad()
def encoder_outputs(encoder: Backbone, size: tuple[int, int]) -> list[Tensor]:
    """The features of two images, in eval mode."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, encoder.in_channels, *size, generator=generator)
    return list(encoder.eval()(images))


@torch.no_grad()
def model_outputs(model: nn.Module, scope: str, size: tuple[int, int]) -> list[Tensor]:
    """All tensors in a whole model's prediction for one image, preprocessor and postprocessing
    included; of a library without data samples, those that ``mode='tensor'`` gives."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
    if scope not in SAMPLES:
        return list(_tensors(model.eval()(image[None].float(), mode="tensor")))
    module, name = SAMPLES[scope]
    shapes = dict(img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size)
    sample = getattr(import_module(module), name)(
        metainfo=dict(**shapes, scale_factor=(1.0, 1.0), img_id=0)
    )
    return list(_tensors(model.eval().test_step(dict(inputs=[image], data_samples=[sample]))))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for name in sorted(value, key=str):
            yield from _tensors(value[name])
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif hasattr(value, "all_items"):  # mmengine's data elements
        yield from _tensors(dict(value.all_items()))
    elif hasattr(value, "tensor") and isinstance(value.tensor, Tensor):  # mmdet's boxes
        yield value.tensor
