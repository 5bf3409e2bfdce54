"""Fitting kernels of patch embeddings and tables of position biases to other sizes.

What the encoders resize by themselves whenever weights are loaded is in their own modules.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import UserError


def check_patch_kernel(kernel: Tensor, source: str) -> None:
    """Raise a UserError where a kernel (O, I, h, w) doesn't look at images."""
    if kernel.ndim == 4 and kernel.shape[2:] == (1, 1) and kernel.shape[1] > 16:
        raise UserError(
            f"{source}: its patch embedding takes single pixels of {kernel.shape[1]} channels, the "
            "map of another network: it is a hybrid, of a ResNet and a transformer. These encoders "
            "take images; get the model without the ResNet"
        )


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


def put_in_middle(table: Tensor, larger: Tensor) -> Tensor:
    """A table of position biases as the smallest offsets of a larger window's table."""
    inner, outer = math.isqrt(len(table)), math.isqrt(len(larger))
    result = larger.reshape(outer, outer, -1).clone()
    middle = slice((outer - inner) // 2, (outer + inner) // 2)
    result[middle, middle] = table.reshape(inner, inner, -1)
    return result.flatten(0, 1)


def resize_bias_table_geometrically(table: Tensor, window: int) -> Tensor:
    """A table of position biases ((2 * old - 1) ** 2, heads) for windows of another side, as BEiT's
    authors and timm do it.

    The old entries are placed at offsets that grow geometrically up to the new largest one, so that
    near neighbours keep their biases almost exactly; between them it is linear. A smaller window
    takes about the middle of the table. A table that isn't square is left alone.
    """
    old, new = math.isqrt(len(table)), 2 * window - 1
    if old in (0, new) or old * old != len(table):
        return table
    steps = torch.from_numpy(_geometric_interpolation(old, new)).float()
    square = table.float().reshape(old, old, -1)
    resized = torch.einsum("ao,bp,oph->abh", steps, steps, square)
    return resized.flatten(0, 1).to(table.dtype)


def _geometric_interpolation(old: int, new: int) -> np.ndarray:
    """(new, old): the matrix that interpolates linearly from offsets that grow by a constant ratio
    to the whole ones -(new // 2), ..., new // 2."""
    low, high = 1.01, 1.5  # the ratio by bisection, in timm's bounds
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (ratio ** (old // 2) - 1) / (ratio - 1) > new // 2:
            high = ratio
        else:
            low = ratio
    side = np.cumsum(ratio ** np.arange(old // 2))
    places = np.concatenate([-side[::-1], [0.0], side])
    offsets = np.arange(-(new // 2), new // 2 + 1)
    return np.stack([np.interp(offsets, places, entry) for entry in np.eye(old)], axis=1)
