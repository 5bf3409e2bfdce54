"""Non-maximum suppression, plain and soft."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices (K,) of the boxes (N, 4) that are kept, best score first.

    ``offset`` 1 counts pixels: a box is (x2 - x1 + 1) wide, as if its right and bottom edge were
    one further. Equal scores stay in the order of the boxes (mmcv's sort leaves theirs open).
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
    Two boxes without area have no IoU; here it counts as 0.
    """
    boxes, scores = boxes.float(), scores.float().clone()
    areas = (boxes[:, 2] - boxes[:, 0] + offset) * (boxes[:, 3] - boxes[:, 1] + offset)
    left = torch.arange(len(boxes), device=boxes.device)
    kept: list[int] = []
    while len(left):
        position = int(scores[left].argmax())
        best = int(left[position])
        dets[len(kept), :4], dets[len(kept), 4] = boxes[best], scores[best]
        kept.append(best)
        left[position] = left[0]
        left = left[1:]
        top_left = torch.maximum(boxes[left, :2], boxes[best, :2])
        bottom_right = torch.minimum(boxes[left, 2:], boxes[best, 2:])
        overlap = (bottom_right - top_left + offset).clamp(min=0).prod(dim=1)
        iou = (overlap / (areas[left] + areas[best] - overlap)).nan_to_num(0.0)
        if method == 2:
            decay = torch.exp(-iou.square() / sigma)
        else:
            decay = torch.where(iou >= iou_threshold, 1 - iou if method == 1 else 0.0, 1.0)
        scores[left] *= decay
        left = _without(left, scores[left] < min_score)
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of the boxes ``dets`` (N, 5), the last column their score: the best, then those whose
    IoU with it reaches the threshold, by score; and so on with what is left."""
    scores = dets[:, 4].float()
    left = scores.argsort(descending=True, stable=True)
    groups = []
    while len(left):
        best, left = left[0], left[1:]
        iou = torchvision.ops.box_iou(dets[best, None, :4].float(), dets[left, :4].float())[0]
        match = iou >= iou_threshold
        groups.append([int(best), *left[match].tolist()])
        left = left[~match]
    return groups


def _without(items: Tensor, gone: Tensor) -> Tensor:
    """``items`` less those ``gone``, each gap filled from the end.

    That is the order in which mmcv's loop leaves them, and it decides between equal scores.
    """
    number = len(items) - int(gone.sum())
    gaps = gone[:number].nonzero()[:, 0]
    fillers = number + (~gone[number:]).nonzero()[:, 0].flip(0)
    items = items.clone()
    items[gaps] = items[fillers]
    return items[:number]
