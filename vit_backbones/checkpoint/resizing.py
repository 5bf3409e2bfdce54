"""Fitting a patch embedding's kernel to another patch size and another number of image channels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def resize_patch_kernel(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """A kernel (O, I, h, w) for patches of another size.

    The pseudo-inverse resize of FlexiViT (Beyer et al. 2023, section 3.4): the kernel whose
    products with patches resized bilinearly are closest to those of the old kernel with the old
    patches.
    """
    old = (kernel.shape[2], kernel.shape[3])
    if old == size:
        return kernel
    basis = torch.eye(old[0] * old[1]).reshape(-1, 1, *old)
    # the matrix of the bilinear resize that turns an old patch into a new one
    resize = F.interpolate(basis, size=size, mode="bilinear", antialias=True).flatten(1).T
    solve = torch.linalg.pinv(resize.T.double())
    resized = torch.einsum("nm,oim->oin", solve, kernel.flatten(2).double())
    return resized.reshape(*kernel.shape[:2], *size).to(kernel.dtype)


def resize_input_channels(kernel: Tensor, channels: int) -> Tensor:
    """A kernel (O, I, h, w) for images of another number of channels.

    One channel: the sum, which is exact for a grey image copied to all channels. Otherwise the old
    channels are repeated in turn, scaled so that the sum over channels stays the same (timm's way).
    """
    old = kernel.shape[1]
    if old == channels:
        return kernel
    if channels == 1:
        return kernel.sum(dim=1, keepdim=True)
    repeated = kernel[:, torch.arange(channels) % old]
    return repeated * (old / channels)
