"""A pyramid from the single map of a plain ViT."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UserError
from ..registry import MODELS


@MODELS.register_module()
class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of maps (B, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNorm(nn.Conv2d):
    """Convolution without bias, then its norm, a child of it as in detectron2."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False
        )
        self.norm = ChannelNorm(out_channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """ViTDet's neck (Li et al. 2022, section 3 and figure 2c): every level comes from the last map
    of the encoder, larger ones by transposed convolutions, smaller ones by max pooling; there is no
    top-down path.

    Parameter names are detectron2's: ``simfp_K``, with K the binary logarithm of the level's stride
    where the encoder's map has stride 16 (scale 4: ``simfp_2``). The scales hold for any map: with
    a patch of 14 pixels the default levels have strides 3.5, 7, 14 and 28, and for strides 4 to 32
    a patch of 8 takes ``scale_factors=(2, 1, 0.5, 0.25)``.

    Maps of odd sides keep their last row and column where they are halved; on even ones, all that
    detectron2's padded images give, the results are detectron2's.

    Args:
        in_channels: Channels of the encoder's map.
        out_channels: Channels of every level.
        scale_factors: Size of each level over that of the map, powers of two, largest first.
        num_outs: Number of levels. Those beyond ``scale_factors`` take every other pixel of the
            level before. Default: as many as ``scale_factors``.
        init_cfg: OpenMMLab's. Default: PyTorch's own initialisation, as in detectron2.

    Raises:
        UserError: A setting can't work; in ``forward``, maps of another shape.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        scale_factors: Sequence[float] = (4, 2, 1, 0.5),
        num_outs: int | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = _single(in_channels)
        self.out_channels = out_channels
        self.scale_factors = tuple(scale_factors)
        self.num_outs = len(self.scale_factors) if num_outs is None else num_outs
        doublings = _doublings(self.scale_factors)
        if self.num_outs < len(doublings):
            raise UserError(
                f"num_outs={num_outs} is less than the {len(doublings)} levels of scale_factors="
                f"{self.scale_factors}; leave out scales instead"
            )
        if doublings[0] > 0 and self.in_channels % 2 ** doublings[0]:
            raise UserError(
                f"in_channels={in_channels} must divide by {2 ** doublings[0]}: enlarging the map "
                f"{2 ** doublings[0]} times halves its channels {doublings[0]} times"
            )
        self.levels = [f"simfp_{4 - n}" for n in doublings]
        for name, n in zip(self.levels, doublings):
            self.add_module(name, self._level(n))

    def _level(self, doublings: int) -> nn.Sequential:
        """Resize by ``2 ** doublings``, then 1x1 and 3x3 convolution."""
        layers: list[nn.Module] = []
        dim = self.in_channels
        for i in range(doublings):
            layers.append(nn.ConvTranspose2d(dim, dim // 2, kernel_size=2, stride=2))
            dim //= 2
            if i < doublings - 1:
                layers += [ChannelNorm(dim, eps=1e-6), nn.GELU()]
        layers += [nn.MaxPool2d(2, stride=2, ceil_mode=True) for _ in range(-doublings)]
        layers += [ConvNorm(dim, self.out_channels, 1)]
        layers += [ConvNorm(self.out_channels, self.out_channels, 3)]
        return nn.Sequential(*layers)

    def forward(self, maps: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps of the encoder, of which the last (B, in_channels, h, w) counts -> one map
        (B, out_channels, h * scale, w * scale) per level, largest first."""
        x = maps if isinstance(maps, Tensor) else maps[-1]
        if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[1] != self.in_channels:
            shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise UserError(
                f"SimpleFeaturePyramid takes a map of shape (batch, {self.in_channels}, height, "
                f"width), but got {shape}; a VisionTransformer gives one with out_type='featmap'"
            )
        # contiguous, as encoders' maps are
        levels = [getattr(self, name)(x).contiguous() for name in self.levels]
        while len(levels) < self.num_outs:
            levels.append(F.max_pool2d(levels[-1], kernel_size=1, stride=2))
        return tuple(levels)


def _single(channels: int | Sequence[int]) -> int:
    """``in_channels`` as one number; a sequence, as other necks take it, counts by its last."""
    return channels if isinstance(channels, int) else channels[-1]


def _doublings(scale_factors: Sequence[float]) -> list[int]:
    """The binary logarithms of ``scale_factors``.

    Raises:
        UserError: They are no descending powers of two.
    """
    try:
        powers = [round(math.log2(s)) for s in scale_factors]
    except (TypeError, ValueError):
        powers = []
    exact = [2.0**p for p in powers] == list(scale_factors)
    if not powers or not exact or sorted(set(powers), reverse=True) != powers:
        raise UserError(
            "scale_factors must be powers of two, largest first, such as (4, 2, 1, 0.5), "
            f"not {scale_factors!r}"
        )
    return powers
