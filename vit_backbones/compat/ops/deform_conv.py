"""Deformable convolution, version 1 (Dai et al., 2017) and 2, modulated (Zhu et al., 2019), by
torchvision's op."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from . import widened


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **settings: int,
) -> None:
    """``input`` (B, C, H, W) convolved by ``weight`` (O, C / group, kH, kW) at points moved by
    ``offset`` (B, 2 * deformable_group * kH * kW, h, w), into ``output`` (B, O, h, w).

    ``columns`` and ``ones`` are room for a compiled op to work in.
    """
    output.copy_(_convolve(*widened(input, offset, weight), **_version_1(settings)))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **settings: int,
) -> None:
    """Fill ``grad_input`` and ``grad_offset``."""
    tensors = dict(input=input, offset=offset, weight=weight)
    gradients = dict(input=grad_input, offset=grad_offset)
    _fill(gradients, tensors, grad_output, _version_1(settings))


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **settings: int,
) -> None:
    """Add ``scale`` times the gradient to ``grad_weight``, which is zero before."""
    weight = torch.zeros_like(grad_weight)  # the gradient does not depend on it
    tensors = dict(input=input, offset=offset, weight=weight)
    _fill(dict(weight=grad_weight), tensors, grad_output * scale, _version_1(settings))


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    **settings: int,
) -> None:
    """As `deform_conv_forward`, with each point weighed by ``mask``
    (B, deformable_group * kH * kW, h, w), and ``bias`` (O,) or empty."""
    tensors = widened(input, offset, weight, mask, bias)
    output.copy_(_convolve(*tensors, **_version_2(settings)))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    **settings: int,
) -> None:
    """Fill the gradients, that of ``bias`` where ``with_bias``."""
    tensors = dict(input=input, offset=offset, weight=weight, mask=mask, bias=bias)
    gradients = dict(input=grad_input, offset=grad_offset, weight=grad_weight, mask=grad_mask)
    if settings["with_bias"]:
        gradients["bias"] = grad_bias
    _fill(gradients, tensors, grad_output, _version_2(settings))


def _version_1(settings: dict[str, int]) -> dict[str, tuple[int, int]]:
    return dict(
        stride=(settings["dH"], settings["dW"]),
        padding=(settings["padH"], settings["padW"]),
        dilation=(settings["dilationH"], settings["dilationW"]),
    )


def _version_2(settings: dict[str, int]) -> dict[str, tuple[int, int]]:
    return {
        name: (settings[f"{short}_h"], settings[f"{short}_w"])
        for name, short in (("stride", "stride"), ("padding", "pad"), ("dilation", "dilation"))
    }


def _convolve(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    **geometry: tuple[int, int],
) -> Tensor:
    bias = bias if bias is not None and bias.numel() else None
    if mask is not None:
        size = _output_size(input, weight, **geometry)
        offset, mask = _read(offset, size), _read(mask, size)
    # groups follow from the shapes
    return deform_conv2d(input, offset, weight, bias, **geometry, mask=mask)


def _output_size(
    input: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, ...]:
    sides = zip(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides)


def _read(points: Tensor, size: tuple[int, ...]) -> Tensor:
    """The (B, C, *size) that mmcv's kernel reads of larger maps: of each image the first numbers in
    memory. DyHead gives it those of the level below."""
    numbers = points.shape[1] * math.prod(size)
    if points.shape[2:] == size or points[0].numel() < numbers:
        return points
    return points.flatten(1)[:, :numbers].reshape(*points.shape[:2], *size)


def _fill(
    gradients: dict[str, Tensor],
    tensors: dict[str, Tensor],
    grad_output: Tensor,
    geometry: dict[str, tuple[int, int]],
) -> None:
    """Compute the convolution again and write the gradients that are asked for."""
    with torch.enable_grad():
        wide = {name: t.detach() for name, t in zip(tensors, widened(*tensors.values()))}
        inputs = [wide[name].requires_grad_() for name in gradients]
        output = _convolve(**wide, **geometry)
        results = torch.autograd.grad(output, inputs, grad_output.to(output.dtype))
    for out, result in zip(gradients.values(), results):
        out.copy_(result)
