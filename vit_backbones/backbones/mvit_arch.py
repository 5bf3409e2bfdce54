"""Every setting of the multiscale vision transformers, and what they mean for each block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..arguments import (
    check_mlp_ratio,
    check_positive,
    check_positive_number,
    check_rate,
    is_integer,
    to_pair,
)
from ..errors import UserError
from ..layers.pooling_attention import Pooling
from ..layers.position import PosInterpolation, check_interpolation
from ..layers.window import halved_grids

POOL_MODES = ("conv", "max", "avg")
POS_EMBEDS = ("none", "joint", "separate")


@dataclass(frozen=True)
class BlockPlan:
    """Widths, strides and window of one block.

    Attributes:
        dim, attn_dim, out_dim: Width of its input, of its attention and of its output.
        num_heads: Heads.
        grid: (h, w) of its input for an image of ``img_size``.
        stride_q: Stride of the queries, and so of the block.
        pool_q, pool_kv: Pooling of the queries, and of the keys and values; None for none.
        window: Side of the attention's window on the input grid, None for global attention.
    """

    dim: int
    attn_dim: int
    out_dim: int
    num_heads: int
    grid: tuple[int, int]
    stride_q: int
    pool_q: Pooling | None
    pool_kv: Pooling | None
    window: int | None


@dataclass
class MViTArch:
    """The settings of a MViT; presets and ``arch=dict(...)`` name what differs from these defaults,
    MViTv2's.

    Attributes:
        embed_dims: Width of the first stage; each further stage doubles it.
        depths: Blocks of each stage; each stage but the first begins with a block that halves the
            map.
        num_heads: Heads of the first stage; each further stage doubles them.
        mlp_ratio: Hidden width of the MLP over its input's.
        img_size: Input size in pixels, or (height, width), for which position parameters are held.
            Any other size works, too.
        in_channels: Channels of the images.
        patch_kernel, patch_stride: Side and step of the overlapping patches, in pixels.
        pool_mode: 'conv' (depthwise convolution and norm), 'max' or 'avg'.
        pool_kernel: Side of the pooling kernel, odd; None: stride + 1, and no pooling where the
            stride is 1 (MViT's pooling without convolution).
        pool_every_q: Pool the queries of every block (MViTv2), not only where the map is halved
            (MViT).
        kv_stride: Stride of the keys and values in the first stage, halved by each further one down
            to 1.
        window_size: MViTv2's hybrid window attention for detection: side of the windows on the
            first stage's grid, halved by each further stage. All blocks are windowed but the last
            of each stage after the first. None: all are global.
        cls_token: Have a class token.
        pos_embed: Absolute position: 'none', 'joint' (one table, the class token's in front) or
            'separate' (space, time, which is one frame here, and class token; MViT, section 3.2).
        pos_interpolation: Fields of :class:`PosInterpolation`, how positions are resized.
        rel_pos: Decomposed relative position (MViTv2).
        residual_pooling: Add the pooled queries to the attention's result (MViTv2), that of the
            class token included, as timm and mmpretrain do; SlowFast leaves the class token out.
        dim_mul_in_attention: Double the width in the attention of a stage's first block (MViTv2-T,
            -S, -B); else in the MLP of the last block of the stage before (MViT, MViTv2-L), whose
            output is then wider.
        qkv_bias: Bias of the projection to queries, keys and values.
        norm_eps: Epsilon of all norms.
        drop_path_rate: Stochastic depth of the last block, growing linearly from 0 at the first.
    """

    embed_dims: int = 96
    depths: Sequence[int] = (1, 2, 5, 2)
    num_heads: int = 1
    mlp_ratio: float = 4.0
    img_size: int | Sequence[int] = 224
    in_channels: int = 3
    patch_kernel: int = 7
    patch_stride: int = 4
    pool_mode: str = "conv"
    pool_kernel: int | None = 3
    pool_every_q: bool = True
    kv_stride: int = 4
    window_size: int | None = None
    cls_token: bool = False
    pos_embed: str = "none"
    pos_interpolation: Mapping[str, Any] = field(default_factory=dict)
    rel_pos: bool = True
    residual_pooling: bool = True
    dim_mul_in_attention: bool = True
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    drop_path_rate: float = 0.0

    @property
    def grid(self) -> tuple[int, int]:
        """Patches (h, w) of an image of ``img_size``."""
        height, width = to_pair(self.img_size, "img_size")
        return -(-height // self.patch_stride), -(-width // self.patch_stride)

    @property
    def grids(self) -> list[tuple[int, int]]:
        """(h, w) of each stage's map for an image of ``img_size``."""
        return halved_grids(self.grid, len(self.depths))

    @property
    def interpolation(self) -> PosInterpolation:
        return PosInterpolation(**self.pos_interpolation)

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """Index of the last block of each stage."""
        return tuple(sum(self.depths[: i + 1]) - 1 for i in range(len(self.depths)))

    @property
    def out_dims(self) -> tuple[int, ...]:
        """Width of the output of each stage."""
        plans = self.plan()
        return tuple(plans[end].out_dim for end in self.stage_ends)

    def plan(self) -> list[BlockPlan]:
        """What each block is, first to last."""
        plans: list[BlockPlan] = []
        last_stage = len(self.depths) - 1
        dim, grid, kv_stride, window = self.embed_dims, self.grid, self.kv_stride, self.window_size
        for stage, depth in enumerate(self.depths):
            width = self.embed_dims * 2**stage
            for i in range(depth):
                first, last = i == 0, i == depth - 1
                stride_q = 2 if first and stage > 0 else 1
                if stride_q == 2:
                    kv_stride = max(kv_stride // 2, 1)
                is_global = window is None or (last and stage > 0)
                # Global blocks among windows pool their keys twice as far, but in the last stage.
                further = 2 if window is not None and is_global and stage < last_stage else 1
                expand = last and stage < last_stage and not self.dim_mul_in_attention
                pool_q = self._pooling(stride_q) if self.pool_every_q or stride_q > 1 else None
                plans.append(
                    BlockPlan(
                        dim=dim,
                        attn_dim=width,
                        out_dim=2 * width if expand else width,
                        num_heads=self.num_heads * 2**stage,
                        grid=grid,
                        stride_q=stride_q,
                        pool_q=pool_q,
                        pool_kv=self._pooling(kv_stride * further),
                        window=None if is_global else window,
                    )
                )
                dim = plans[-1].out_dim
                grid = (-(-grid[0] // stride_q), -(-grid[1] // stride_q))
                if window is not None:
                    window //= stride_q
        return plans

    def _pooling(self, stride: int) -> Pooling | None:
        kernel = self.pool_kernel
        if kernel is None:
            kernel = stride + 1 if stride > 1 else 1
        return None if kernel == stride == 1 else Pooling(self.pool_mode, kernel, stride)

    def check(self) -> None:
        """Raise a UserError where the settings can't work, in words."""
        for name in (
            "embed_dims",
            "num_heads",
            "in_channels",
            "patch_kernel",
            "patch_stride",
            "kv_stride",
        ):
            check_positive(name, getattr(self, name))
        check_mlp_ratio(self.mlp_ratio, self.embed_dims)
        check_positive_number("norm_eps", self.norm_eps)
        self._check_depths()
        if self.embed_dims % self.num_heads:
            raise UserError(
                f"embed_dims={self.embed_dims} does not divide into num_heads={self.num_heads}"
            )
        if self.patch_kernel % 2 == 0 or self.patch_kernel < self.patch_stride:
            raise UserError(
                f"patch_kernel must be odd and at least patch_stride={self.patch_stride}, so that "
                f"patches cover the image, not {self.patch_kernel}"
            )
        check_rate("drop_path_rate", self.drop_path_rate)
        self._check_pooling()
        self._check_position()
        if self.window_size is not None:
            self._check_window()
        to_pair(self.img_size, "img_size")

    def _check_depths(self) -> None:
        depths = self.depths
        is_sequence = isinstance(depths, Sequence) and not isinstance(depths, str)
        if not is_sequence or not depths or any(not is_integer(d) or d < 1 for d in depths):
            raise UserError(
                f"depths must be positive integers, the blocks of each stage, not {depths!r}"
            )

    def _check_pooling(self) -> None:
        if self.pool_mode not in POOL_MODES:
            raise UserError(
                f"pool_mode must be one of {', '.join(POOL_MODES)}, not {self.pool_mode!r}"
            )
        kernel = self.pool_kernel
        if kernel is not None and (not is_integer(kernel) or kernel < 1 or kernel % 2 == 0):
            raise UserError(f"pool_kernel must be an odd positive integer or None, not {kernel!r}")
        if self.kv_stride & (self.kv_stride - 1):
            raise UserError(
                "kv_stride is halved from stage to stage, so it must be a power of two, "
                f"not {self.kv_stride}"
            )

    def _check_position(self) -> None:
        if self.pos_embed not in POS_EMBEDS:
            raise UserError(
                f"pos_embed must be one of {', '.join(POS_EMBEDS)}, not {self.pos_embed!r}"
            )
        check_interpolation(self.pos_interpolation)

    def _check_window(self) -> None:
        window = self.window_size
        if not is_integer(window) or window < 1:
            raise UserError(f"window_size must be a positive integer or None, not {window!r}")
        if self.cls_token:
            raise UserError(
                "windows have no place for a class token; set cls_token=False or window_size=None"
            )
        for i, block in enumerate(self.plan()):
            if block.window is None:
                continue
            stride_kv = block.pool_kv.stride if block.pool_kv else 1
            for stride, of in ((block.stride_q, "queries"), (stride_kv, "keys and values")):
                if block.window < stride or block.window % stride:
                    halvings = len(self.depths) - 1
                    raise UserError(
                        f"window_size={window} leaves block {i} a window of {block.window}, which "
                        f"does not divide by the stride {stride} of its {of}; take a multiple of "
                        f"{max(self.kv_stride, 2**halvings)}, such as 56"
                    )
