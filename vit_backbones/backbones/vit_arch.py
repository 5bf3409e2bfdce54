"""Every setting of the plain vision transformer."""

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
    is_number,
    to_pair,
)
from ..errors import UserError, nearest
from ..layers.attention_kinds import ATTENTIONS, attention_options, check_attention
from ..layers.position import PosInterpolation, check_interpolation

POSITIONS = ("none", "learned", "sinusoid1d", "sincos2d", "rope2d", "decomposed")
MLPS = ("gelu", "gelu_tanh", "quick_gelu", "swiglu")


@dataclass
class ViTArch:
    """The settings of a VisionTransformer; presets and ``arch=dict(...)`` name what differs from
    these defaults.

    Attributes:
        embed_dims: Width of the tokens.
        depth: Number of blocks.
        num_heads: Heads of each block; None: ``embed_dims / 64``.
        mlp_ratio: Hidden width of the MLP over ``embed_dims`` (a SwiGLU's is two thirds of it).
        patch_size: Side of a patch in pixels, or (height, width).
        img_size: Input size in pixels, or (height, width), for which position parameters are held.
            Any other size works, too.
        in_channels: Channels of the images.
        position: One or several of 'none', 'learned' (1-D, per patch; ViT, appendix D.4),
            'sinusoid1d' (Vaswani et al. 2017), 'sincos2d' (MAE), 'rope2d' (DINOv3), 'decomposed'
            (relative; ViTDet).
        pretrain_img_size: Size for which the absolute positions are stored where it isn't
            ``img_size`` (ViTDet).
        pos_interpolation: Fields of :class:`PosInterpolation`, how positions are resized.
        pos_embed_cls: The class token has a position of its own (not in DeiT-III).
        rope_base, rope_rescale: See :class:`RotaryEmbedding2D`.
        cls_token: Have a class token.
        num_registers: Register tokens (Darcet et al. 2024), DINOv3's storage tokens.
        attention: Kind of every block, one of ``ATTENTIONS``, or ``dict(type=kind, **options)``, or
            a sequence of them, repeated over the blocks: ('window', 'window', 'global') makes every
            third block global.
        qkv_bias, key_bias, qk_norm: See :class:`SelfAttention`.
        mlp: 'gelu', 'gelu_tanh' (the approximation of GELU in Google's code and SigLIP),
            'quick_gelu' (CLIP) or 'swiglu' (DINOv2 giant, DINOv3).
        layer_scale_init: First value of LayerScale, None for none.
        norm_eps: Epsilon of all norms.
        pre_norm: A norm before the first block and no bias in the patch projection (CLIP).
        final_norm: A norm after the last block.
        norm_all_outputs: The final norm on the outputs of earlier blocks, too (DINOv2's
            intermediate layers).
        pool_norm: A norm after average pooling (MAE's fine-tuning; then final_norm=False).
        drop_rate: Dropout on positions, attention outputs and MLPs.
        attn_drop_rate: Dropout on attention weights.
        drop_path_rate: Stochastic depth of the last block, growing linearly from 0 at the first.
        drop_path_uniform: ``drop_path_rate`` is every block's (DeiT III, DINOv2, DINOv3).
        patch_drop_rate: Share of the patches dropped in training (:class:`PatchDrop`).
    """

    embed_dims: int = 768
    depth: int = 12
    num_heads: int | None = None
    mlp_ratio: float = 4.0
    patch_size: int | Sequence[int] = 16
    img_size: int | Sequence[int] = 224
    in_channels: int = 3
    position: str | Sequence[str] = "learned"
    pretrain_img_size: int | Sequence[int] | None = None
    pos_interpolation: Mapping[str, Any] = field(default_factory=dict)
    pos_embed_cls: bool = True
    rope_base: float = 100.0
    rope_rescale: float | None = None
    cls_token: bool = True
    num_registers: int = 0
    attention: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] = "global"
    qkv_bias: bool = True
    key_bias: bool = True
    qk_norm: bool = False
    mlp: str = "gelu"
    layer_scale_init: float | None = None
    norm_eps: float = 1e-6
    pre_norm: bool = False
    final_norm: bool = True
    norm_all_outputs: bool = False
    pool_norm: bool = False
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    drop_path_uniform: bool = False
    patch_drop_rate: float = 0.0

    @property
    def heads(self) -> int:
        return self.num_heads if self.num_heads is not None else max(1, self.embed_dims // 64)

    @property
    def patch(self) -> tuple[int, int]:
        return to_pair(self.patch_size, "patch_size")

    @property
    def grid(self) -> tuple[int, int]:
        """Patches (h, w) of an image of ``img_size``."""
        return self._grid_of(self.img_size, "img_size")

    @property
    def pos_grid(self) -> tuple[int, int]:
        """Patches (h, w) for which absolute positions are stored."""
        if self.pretrain_img_size is None:
            return self.grid
        return self._grid_of(self.pretrain_img_size, "pretrain_img_size")

    @property
    def positions(self) -> tuple[str, ...]:
        return tuple(_as_list(self.position))

    @property
    def interpolation(self) -> PosInterpolation:
        return PosInterpolation(**self.pos_interpolation)

    def attention_of(self, block: int) -> tuple[str, dict[str, Any]]:
        """Kind and all options of the attention of a block, defaults included."""
        kinds = _as_list(self.attention)
        if not kinds:
            raise UserError("attention is an empty sequence; name at least one kind")
        chosen = kinds[block % len(kinds)]
        options = dict(chosen) if isinstance(chosen, Mapping) else {"type": chosen}
        kind = options.pop("type", None)
        check_attention(kind, options)
        defaults = attention_options(kind)
        if "grid" in defaults:
            defaults["grid"] = self.grid
        return kind, {**defaults, **options}

    @property
    def attention_kinds(self) -> list[str]:
        """Kind of the attention of each block."""
        return [self.attention_of(block)[0] for block in range(self.depth)]

    @property
    def window_sizes(self) -> dict[int, int]:
        """Side of the windows, in patches, of each block that attends within such."""
        blocks = ((block, *self.attention_of(block)) for block in range(self.depth))
        return {
            block: options["window_size"] for block, kind, options in blocks if kind == "window"
        }

    def check(self) -> None:
        """Raise a UserError where the settings can't work, in words."""
        for name in ("embed_dims", "depth", "in_channels"):
            check_positive(name, getattr(self, name))
        if not is_integer(self.heads) or self.heads < 1 or self.embed_dims % self.heads:
            raise UserError(
                f"embed_dims={self.embed_dims} does not divide into num_heads={self.heads}; "
                "choose num_heads so that it does (None: heads of width 64)"
            )
        if not is_integer(self.num_registers) or self.num_registers < 0:
            raise UserError(f"num_registers must be 0 or more, not {self.num_registers!r}")
        check_mlp_ratio(self.mlp_ratio, self.embed_dims)
        for name in ("norm_eps", "rope_base"):
            check_positive_number(name, getattr(self, name))
        value = self.layer_scale_init
        if value is not None and not is_number(value):
            raise UserError(f"layer_scale_init must be a number or None, not {value!r}")
        value = self.rope_rescale
        if value is not None and (not is_number(value) or value < 1):
            raise UserError(f"rope_rescale must be 1 or more, or None, not {value!r}")
        for name in ("drop_rate", "attn_drop_rate", "drop_path_rate", "patch_drop_rate"):
            check_rate(name, getattr(self, name))
        if self.mlp not in MLPS:
            raise UserError(f"mlp must be one of {', '.join(MLPS)}, not {self.mlp!r}")
        self._check_position()
        kinds = self.attention_kinds
        if self.patch_drop_rate and (set(kinds) != {"global"} or "decomposed" in self.positions):
            raise UserError(
                "patch_drop_rate leaves no grid, which windowed, sparse and decomposed-position "
                "attention need; set it to 0, or use attention='global' and another position"
            )
        for kind in kinds:
            if "decomposed" in self.positions and not ATTENTIONS[kind].takes_decomposed_position:
                able = [name for name, a in ATTENTIONS.items() if a.takes_decomposed_position]
                raise UserError(
                    f"attention '{kind}' has no decomposed relative position, only "
                    f"{' and '.join(able)} have; choose another position, such as 'rope2d'"
                )

    def _check_position(self) -> None:
        for kind in self.positions:
            if kind not in POSITIONS:
                raise UserError(
                    f"position {kind!r} is unknown{nearest(kind, POSITIONS) or '.'} "
                    f"The kinds: {', '.join(POSITIONS)}"
                )
        absolute = [p for p in self.positions if p in ("learned", "sinusoid1d", "sincos2d")]
        if len(absolute) > 1:
            raise UserError(f"position names several absolute kinds, {absolute}; choose one")
        for kind, width in (
            ("sincos2d", self.embed_dims),
            ("rope2d", self.embed_dims // self.heads),
        ):
            if kind in self.positions and width % 4:
                raise UserError(f"position '{kind}' needs a width that divides by 4, not {width}")
        check_interpolation(self.pos_interpolation)
        self.grid, self.pos_grid  # noqa: B018  (they check the sizes)

    def _grid_of(self, size: int | Sequence[int], name: str) -> tuple[int, int]:
        (height, width), (ph, pw) = to_pair(size, name), self.patch
        return -(-height // ph), -(-width // pw)


def _as_list(value: Any) -> list:
    """A sequence as a list; a single value as a list of it."""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return list(value) if several else [value]
