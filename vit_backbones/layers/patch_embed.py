"""Images to patch tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .window import ceil_div


def pad_to_multiple(x: Tensor, multiple: tuple[int, int]) -> Tensor:
    """Zeros at the bottom and right of (B, C, H, W) until both sides divide by ``multiple`` (h,
    w)."""
    H, W = x.shape[-2:]
    bottom = ceil_div(H, multiple[0]) * multiple[0] - H
    right = ceil_div(W, multiple[1]) * multiple[1] - W
    # While compiling always: else a graph for sizes that need it and one for those that don't
    if torch.compiler.is_compiling() or bottom or right:
        return F.pad(x, (0, right, 0, bottom))
    return x


class PatchEmbed(nn.Module):
    """Non-overlapping patches, each projected linearly: (B, C, H, W) -> (B, embed_dims, h, w).

    H and W that are no multiples of the patch are padded with zeros at the bottom and right.

    Args:
        in_channels: Channels of the image.
        embed_dims: Width of the tokens.
        patch_size: (height, width) of a patch in pixels; also the stride.
        bias: Whether the projection has a bias (CLIP's hasn't).
        norm_layer: Norm over the channels after the projection (Swin), or None.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        patch_size: tuple[int, int],
        bias: bool = True,
        norm_layer: type[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, embed_dims, patch_size, stride=patch_size, bias=bias)
        self.norm = norm_layer(embed_dims) if norm_layer else None

    def forward(self, images: Tensor) -> Tensor:
        x = self.proj(pad_to_multiple(images, self.patch_size))
        if self.norm is not None:
            x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x
