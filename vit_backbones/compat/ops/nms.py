"""Non-maximum suppression, plain and soft."""

from __future__ import annotations

import numpy as np
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

    All tensors are on the CPU, where mmcv brings them. One box after the other is chosen, each from
    what the last has left, so numpy does it, whose calls cost less than PyTorch's.

    ``method``: 0 drops overlapping boxes, 1 decays their score linearly, 2 by a Gaussian of IoU.
    Two boxes without area have no IoU; here it counts as 0.
    """
    corners, left_scores = (t.detach().float().numpy() for t in (boxes, scores))
    left_scores = left_scores.copy()
    areas = (corners[:, 2] - corners[:, 0] + offset) * (corners[:, 3] - corners[:, 1] + offset)
    left = np.arange(len(corners))
    kept, kept_scores = [], []
    while len(left):
        position = left_scores.argmax()
        best = left[position]
        kept.append(best)
        kept_scores.append(left_scores[position])
        left[position], left_scores[position] = left[0], left_scores[0]
        left, left_scores = left[1:], left_scores[1:]
        others = corners[left]
        sides = np.minimum(others[:, 2:], corners[best, 2:])
        sides -= np.maximum(others[:, :2], corners[best, :2])
        sides = (sides + offset).clip(min=0)
        overlap = sides[:, 0] * sides[:, 1]
        union = areas[left] + areas[best] - overlap
        iou = np.divide(overlap, union, out=np.zeros_like(union), where=union != 0)
        if method == 2:
            left_scores = left_scores * np.exp(-(iou**2) / sigma)
        else:
            decayed = left_scores * (1 - iou) if method == 1 else 0
            left_scores = np.where(iou >= iou_threshold, decayed, left_scores)
        stays = _order_without(left_scores < min_score)
        left, left_scores = left[stays], left_scores[stays]
    indices = torch.tensor(np.array(kept, dtype=np.int64))
    dets[: len(kept), :4] = boxes.detach()[indices]
    dets[: len(kept), 4] = torch.tensor(np.array(kept_scores, dtype=np.float32))
    return indices


def _order_without(gone: np.ndarray) -> np.ndarray:
    """Indices of what stays when each gap is filled from the end.

    That is the order in which mmcv's loop leaves the boxes, and it decides between equal scores.
    """
    number = len(gone) - np.count_nonzero(gone)
    order = np.arange(number)
    if number < len(gone):
        order[np.flatnonzero(gone[:number])] = number + np.flatnonzero(~gone[number:])[::-1]
    return order


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
