"""The stand-in that is loaded under the name ``mmcv._ext`` (see mmcv_ops.py).

Signatures are those that mmcv/ops/*.py call; like the compiled ops, most fill a tensor that the
caller has allocated. All work on the CPU and on CUDA. Any other name is a function that says, when
it is called, how to get the compiled op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import torch
import torchvision  # registers torch.ops.torchvision
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices (K,) of the boxes (N, 4) that are kept, best score first.

    ``offset`` 1 counts pixels: a box is (x2 - x1 + 1) wide, as if its right and bottom edge were
    one further.
    """
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return torchvision.ops.nms(boxes.float(), scores.float(), iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al., 2017, equations 2 and 3): fill ``dets`` (N, 5), return indices (K,).

    ``method``: 0 drops overlapping boxes, 1 decays their score linearly, 2 by a Gaussian of IoU.
    """
    boxes, scores = boxes.float(), scores.float().clone()
    areas = (boxes[:, 2] - boxes[:, 0] + offset) * (boxes[:, 3] - boxes[:, 1] + offset)
    alive = torch.ones_like(scores, dtype=torch.bool)
    kept: list[int] = []
    while alive.any():
        best = int(scores.masked_fill(~alive, -torch.inf).argmax())
        dets[len(kept), :4], dets[len(kept), 4] = boxes[best], scores[best]
        kept.append(best)
        alive[best] = False
        top_left = torch.maximum(boxes[:, :2], boxes[best, :2])
        bottom_right = torch.minimum(boxes[:, 2:], boxes[best, 2:])
        overlap = (bottom_right - top_left + offset).clamp(min=0).prod(dim=1)
        iou = overlap / (areas + areas[best] - overlap)
        if method == 2:
            decay = torch.exp(-iou.square() / sigma)
        else:
            decay = torch.where(iou >= iou_threshold, 1 - iou if method == 1 else 0.0, 1.0)
        scores = torch.where(alive, scores * decay, scores)
        alive &= scores >= min_score
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


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
    """RoIAlign (He et al., 2017) of ``input`` (B, C, H, W) at ``rois`` (N, 5) into ``output``."""
    _only_average(pool_mode)
    output.copy_(
        torch.ops.torchvision.roi_align(
            input,
            rois.to(input.dtype),
            spatial_scale,
            aligned_height,
            aligned_width,
            sampling_ratio,
            aligned,
        )
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
    _only_average(pool_mode)
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad_output,
            rois.to(grad_output.dtype),
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


def _only_average(pool_mode: int) -> None:
    if pool_mode != 1:
        _missing("roi_align with pool_mode='max'")


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention by mmcv's own PyTorch version, which it uses on the CPU."""
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch(
        value, value_spatial_shapes, sampling_locations, attention_weights
    )


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
    with torch.enable_grad():
        value, sampling_locations, attention_weights = inputs = [
            t.detach().requires_grad_() for t in (value, sampling_locations, attention_weights)
        ]
        output = ms_deform_attn_forward(
            value,
            value_spatial_shapes,
            value_level_start_index,
            sampling_locations,
            attention_weights,
            im2col_step,
        )
        grads = torch.autograd.grad(output, inputs, grad_output)
    for out, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), grads):
        out.copy_(grad)


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss (Lin et al., 2017, equation 5) of logits (N, C) for classes (N,), unreduced.

    Class C is background; ``weight`` is empty or holds one weight per class.
    """
    output.copy_(_sigmoid_focal_loss(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    with torch.enable_grad():
        input = input.detach().requires_grad_()
        loss = _sigmoid_focal_loss(input, target, weight, gamma, alpha)
        grad_input.copy_(torch.autograd.grad(loss.sum(), input)[0])


def _sigmoid_focal_loss(
    input: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float
) -> Tensor:
    is_target = target[:, None] == torch.arange(input.shape[1], device=target.device)
    log_p = torch.nn.functional.logsigmoid(torch.where(is_target, input, -input))
    balance = torch.where(is_target, alpha, 1 - alpha)
    loss = -balance * (1 - log_p.exp()) ** gamma * log_p
    return loss * weight[target][:, None] if weight.numel() else loss


def get_compiler_version() -> str:
    return "none: vit_backbones stands in for mmcv's compiled ops"


def get_compiling_cuda_version() -> str:
    return "none: vit_backbones stands in for mmcv's compiled ops"


def _missing(op: str) -> NoReturn:
    from vit_backbones.compat.inventory import how_to_compile_mmcv

    raise NotImplementedError(
        f"{op} is a compiled op of mmcv; the mmcv that is installed came without these ops, and "
        "vit_backbones has no replacement for this one. "
        f"To compile mmcv (needs a C++ compiler, and nvcc for CUDA):\n  {how_to_compile_mmcv()}"
    )


def __getattr__(name: str) -> Callable[..., NoReturn]:
    # mmcv's ext_loader asks for every op by name while mmcv.ops is imported
    if name.startswith("__"):
        raise AttributeError(name)

    def op(*args, **kwargs) -> NoReturn:
        _missing(name)

    op.__name__ = name
    return op
