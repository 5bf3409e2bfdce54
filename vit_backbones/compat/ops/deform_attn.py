"""Multi-scale deformable attention (Zhu et al., 2021, equation 3).

On the CPU mmcv takes a PyTorch version of its own; on a GPU it calls these.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from . import widened


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Weighted sum of values sampled around each query.

    Args:
        value: (B, S, heads, C): the levels' maps one behind the other.
        value_spatial_shapes: int (levels, 2): height and width of each map.
        value_level_start_index: Where each begins; follows from the shapes.
        sampling_locations: (B, queries, heads, levels, points, 2): x and y as a share of the map,
            0 to 1 from edge to edge; outside of it values are 0.
        attention_weights: (B, queries, heads, levels, points).
        im2col_step: Images at a time; without meaning here.

    Returns:
        (B, queries, heads * C), of ``value``'s type.
    """
    out_type = value.dtype
    value, locations, weights = widened(value, sampling_locations, attention_weights)
    batch, _, heads, channels = value.shape
    queries = locations.shape[1]
    shapes = value_spatial_shapes.tolist()
    maps = value.permute(0, 2, 3, 1).flatten(0, 1)  # (B * heads, C, S)
    grid = (2 * locations - 1).transpose(1, 2).flatten(0, 1)
    weights = weights.transpose(1, 2).flatten(0, 1)[:, None]
    output = value.new_zeros(batch * heads, channels, queries)
    levels = maps.split([height * width for height, width in shapes], dim=2)
    for level, (flat, shape) in enumerate(zip(levels, shapes)):
        sampled = grid_sample(flat.unflatten(2, shape), grid[:, :, level], align_corners=False)
        output = output + (sampled * weights[:, :, :, level]).sum(dim=3)
    output = output.view(batch, heads * channels, queries).transpose(1, 2)
    return output.to(out_type).contiguous()


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Fill the three gradients; the forward is computed again."""
    with torch.enable_grad():
        value, locations, weights = inputs = [
            t.detach().requires_grad_() for t in (value, sampling_locations, attention_weights)
        ]
        output = ms_deform_attn_forward(
            value, value_spatial_shapes, value_level_start_index, locations, weights, im2col_step
        )
        gradients = torch.autograd.grad(output, inputs, grad_output)
    for out, gradient in zip((grad_value, grad_sampling_loc, grad_attn_weight), gradients):
        out.copy_(gradient)
