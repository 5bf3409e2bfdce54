"""Every setting of the Swin transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..arguments import check_mlp_ratio, check_positive, check_rate, is_integer, to_pair
from ..errors import UserError
from ..layers.window import halved_grids


@dataclass
class SwinArch:
    """The settings of a SwinTransformer; presets and ``arch=dict(...)`` name what differs from
    these defaults, Swin-T's.

    Attributes:
        version: 1 (Liu et al. 2021): norms before attention and MLP, dot-product attention, a table
            of position biases. 2 (Liu et al. 2022): norms after them, scaled cosine attention,
            position biases from an MLP.
        embed_dims: Width of the first stage; each further stage doubles it.
        depths: Blocks of each stage; each stage but the first works on a map half as wide and high.
        num_heads: Heads of each stage; None: heads of width 32.
        window_size: Side of the attention windows in tokens, one for all stages or one each.
        pretrained_window_sizes: Version 2, where the weights come from a pre-training with other
            windows: their sides in it, one for all stages or one each; 0: the same windows.
        pad_small_map: What happens where a window isn't smaller than the map's shorter side. False:
            the window shrinks to that side and isn't shifted, the authors' classification code.
            True: the map is padded up to whole windows, which are shifted as ever, their detection
            code. Larger maps are padded to whole windows in both.
        patch_size: Side of a patch in pixels.
        mlp_ratio: Hidden width of the MLP over its input's.
        qkv_bias: Bias of the projection to queries, keys and values (version 2: none for keys).
        in_channels: Channels of the images.
        use_abs_pos_embed: Add learned absolute positions to the patches.
        img_size: Input size in pixels, or (height, width), for which these are held. Any other size
            works, too.
        drop_rate: Dropout on patches, attention outputs and MLPs.
        attn_drop_rate: Dropout on attention weights.
        drop_path_rate: Stochastic depth of the last block, growing linearly from 0 at the first.
    """

    version: int = 1
    embed_dims: int = 96
    depths: Sequence[int] = (2, 2, 6, 2)
    num_heads: Sequence[int] | None = None
    window_size: int | Sequence[int] = 7
    pretrained_window_sizes: int | Sequence[int] = 0
    pad_small_map: bool = False
    patch_size: int = 4
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    in_channels: int = 3
    use_abs_pos_embed: bool = False
    img_size: int | Sequence[int] = 224
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0

    @property
    def dims(self) -> tuple[int, ...]:
        """Width of each stage."""
        return tuple(self.embed_dims * 2**i for i in range(len(self.depths)))

    @property
    def heads(self) -> tuple[int, ...]:
        """Heads of each stage."""
        if self.num_heads is None:
            return tuple(max(1, dim // 32) for dim in self.dims)
        return tuple(self.num_heads)

    @property
    def windows(self) -> tuple[int, ...]:
        """Side of the windows of each stage."""
        return self._per_stage(self.window_size)

    @property
    def pretrained_windows(self) -> tuple[int, ...]:
        """Side of the windows of each stage in pre-training, 0 for the same."""
        return self._per_stage(self.pretrained_window_sizes)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches (h, w) of an image of ``img_size``."""
        height, width = to_pair(self.img_size, "img_size")
        return -(-height // self.patch_size), -(-width // self.patch_size)

    @property
    def grids(self) -> list[tuple[int, int]]:
        """(h, w) of each stage's map for an image of ``img_size``."""
        return halved_grids(self.grid, len(self.depths))

    def check(self) -> None:
        """Raise a UserError where the settings can't work, in words."""
        if self.version not in (1, 2):
            raise UserError(f"version must be 1 (Swin) or 2 (Swin v2), not {self.version!r}")
        for name in ("embed_dims", "patch_size", "in_channels"):
            check_positive(name, getattr(self, name))
        if not _is_sequence(self.depths) or not self.depths:
            raise UserError(f"depths must be the blocks of each stage, not {self.depths!r}")
        self._check_per_stage("depths", self.depths, 1)
        self._check_heads()
        self._check_per_stage("window_size", self.window_size, 1)
        self._check_per_stage("pretrained_window_sizes", self.pretrained_window_sizes, 0)
        if self.version == 1 and any(self.pretrained_windows):
            raise UserError(
                "pretrained_window_sizes is for version 2; version 1 resizes its bias tables when "
                "weights with other windows are loaded"
            )
        check_mlp_ratio(self.mlp_ratio, self.embed_dims)
        for name in ("drop_rate", "attn_drop_rate", "drop_path_rate"):
            check_rate(name, getattr(self, name))
        to_pair(self.img_size, "img_size")

    def _check_heads(self) -> None:
        if self.num_heads is not None:
            if not _is_sequence(self.num_heads):
                raise UserError(
                    "num_heads must name the heads of each stage, such as (3, 6, 12, 24), "
                    f"not {self.num_heads!r}"
                )
            self._check_per_stage("num_heads", self.num_heads, 1)
        for stage, (dim, heads) in enumerate(zip(self.dims, self.heads)):
            if dim % heads:
                raise UserError(
                    f"stage {stage} is {dim} wide, which does not divide into {heads} heads; "
                    "choose embed_dims and num_heads so that it does (None: heads of width 32)"
                )

    def _check_per_stage(self, name: str, value: Any, least: int) -> None:
        stages = len(self.depths)
        values = list(value) if _is_sequence(value) else [value] * stages
        if len(values) != stages or not all(is_integer(v) and v >= least for v in values):
            raise UserError(
                f"{name} must be an integer of at least {least}, or one for each of the {stages} "
                f"stages, not {value!r}"
            )

    def _per_stage(self, value: int | Sequence[int]) -> tuple[int, ...]:
        return tuple(value) if _is_sequence(value) else (value,) * len(self.depths)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
