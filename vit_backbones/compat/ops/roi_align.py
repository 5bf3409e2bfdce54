"""RoIAlign (He et al., 2017), averaging by torchvision's op, or taking the highest sample."""

from __future__ import annotations

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from . import widened

NO_SAMPLE = -2  # a place outside of the map, for regions without area


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """``input`` (B, C, H, W) at ``rois`` (N, 5) into ``output`` (N, C, height, width).

    ``pool_mode``: 0 is the maximum of a bin's samples, whose place goes into ``argmax_y`` and
    ``argmax_x`` (N, C, height, width), in pixels of the map; 1 is their mean.
    """
    (features,) = widened(input)
    size = (aligned_height, aligned_width)
    rois = rois.to(features.dtype)
    if pool_mode == 1:
        output.copy_(_align(features, rois, spatial_scale, size, sampling_ratio, aligned))
        return
    starts, bins = _bins(rois, spatial_scale, size, aligned)
    if sampling_ratio > 0:
        grids = torch.full_like(bins, sampling_ratio)
    else:
        grids = bins.ceil()
    output.zero_()
    argmax_y.fill_(NO_SAMPLE)
    argmax_x.fill_(NO_SAMPLE)
    for grid in grids.unique(dim=0):
        rows, columns = grid.long().tolist()
        if rows * columns == 0:
            continue
        chosen = (grids == grid).all(dim=1).nonzero()[:, 0]
        # one sample in the middle of each cell of a finer grid: those of the bins, apart
        fine = (aligned_height * rows, aligned_width * columns)
        samples = _align(features, rois[chosen], spatial_scale, fine, 1, aligned)
        samples = samples.unflatten(3, (aligned_width, columns)).unflatten(2, (-1, rows))
        samples = samples.transpose(3, 4).flatten(4)  # (n, C, height, width, rows * columns)
        highest, place = samples.max(dim=4)
        output[chosen] = highest.to(output.dtype)
        cells = torch.stack([place // columns, place % columns]) + 0.5
        y_bins = torch.arange(aligned_height, device=rois.device)[:, None]
        x_bins = torch.arange(aligned_width, device=rois.device)
        # in this order of operations the border of the map is where torchvision has it
        for argmax, axis, bin_, number in (
            (argmax_y, 0, y_bins, rows),
            (argmax_x, 1, x_bins, columns),
        ):
            start, extent = (t[chosen, axis].view(-1, 1, 1, 1) for t in (starts, bins))
            argmax[chosen] = (start + bin_ * extent + cells[axis] * extent / number).to(
                argmax.dtype
            )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add the gradient of the map to ``grad_input``, which is zero before."""
    (grad,) = widened(grad_output)
    rois = rois.to(grad.dtype)
    if pool_mode == 1:
        grad_input.copy_(
            torch.ops.torchvision._roi_align_backward(
                grad,
                rois,
                spatial_scale,
                aligned_height,
                aligned_width,
                *grad_input.shape,
                sampling_ratio,
                aligned,
            )
        )
    else:
        grad_input.copy_(_scatter(grad, rois[:, 0].long(), argmax_y, argmax_x, grad_input.shape))


def _align(
    features: Tensor, rois: Tensor, scale: float, size: tuple[int, int], ratio: int, aligned: bool
) -> Tensor:
    return torch.ops.torchvision.roi_align(features, rois, scale, *size, ratio, aligned)


def _bins(
    rois: Tensor, scale: float, size: tuple[int, int], aligned: bool
) -> tuple[Tensor, Tensor]:
    """Top left corner of each region, and height and width of its bins: (N, 2) as y, x."""
    corners = rois[:, [2, 1, 4, 3]] * scale - (0.5 if aligned else 0.0)
    starts, ends = corners[:, :2], corners[:, 2:]
    extent = ends - starts if aligned else (ends - starts).clamp(min=1)
    return starts, extent / extent.new_tensor(size)


def _scatter(grad: Tensor, batch: Tensor, y: Tensor, x: Tensor, shape: torch.Size) -> Tensor:
    """The gradient (N, C, h, w) of samples at y and x, on the four pixels around each."""
    _, channels, height, width = shape
    (y, x) = widened(y, x)
    # within one pixel of the map a sample counts, at its border
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.floor().long(), x.floor().long()
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    y, x = y - top, x - left
    plane = batch[:, None] * channels + torch.arange(channels, device=grad.device)
    plane = (plane * height * width)[:, :, None, None]
    result = grad.new_zeros(shape).flatten()
    for row, column, share in (
        (top, left, (1 - y) * (1 - x)),
        (top, right, (1 - y) * x),
        (bottom, left, y * (1 - x)),
        (bottom, right, y * x),
    ):
        index = plane + row * width + column
        result.index_add_(0, index.flatten(), (grad * share * inside).flatten())
    return result.view(shape)
