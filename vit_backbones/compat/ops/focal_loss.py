"""Sigmoid focal loss (Lin et al., 2017, equation 5)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from . import widened


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """The loss of logits (N, C) for classes (N,), unreduced, into ``output`` (N, C).

    Class C is background. ``weight`` is empty or holds one weight per class (C,); background has
    none, so it counts fully (mmcv's kernel reads past the end of ``weight`` there). Logits beyond
    17, where mmcv's kernel takes 87 for -log(p), have their exact loss.
    """
    logit, factor, _ = _of_the_truth(input, target, weight, alpha)
    log_p = logsigmoid(logit)
    output.copy_(-factor * torch.sigmoid(-logit) ** gamma * log_p)


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """The gradient of the loss's sum, written out: it stays finite where ``p`` is 0 or 1."""
    logit, factor, sign = _of_the_truth(input, target, weight, alpha)
    p, log_p, not_p = torch.sigmoid(logit), logsigmoid(logit), torch.sigmoid(-logit)
    grad_input.copy_(-sign * factor * not_p**gamma * (not_p - gamma * p * log_p))


def _of_the_truth(
    input: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Each (N, C), or (N, 1) where it is the same for all classes: the logit of what is true (of
    the class where it is the target, else of its absence), its share in the loss, and 1 or -1 for
    the sign with which it holds the input."""
    (logits,) = widened(input)
    is_target = target[:, None] == torch.arange(input.shape[1], device=target.device)
    sign = torch.where(is_target, 1.0, -1.0).to(logits.dtype)
    factor = torch.where(is_target, alpha, 1 - alpha).to(logits.dtype)
    if weight.numel():
        factor = factor * torch.cat([weight, weight.new_ones(1)])[target][:, None].to(logits.dtype)
    return sign * logits, factor, sign
