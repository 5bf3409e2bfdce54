"""The plain vision transformer, in all its published variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..layers.attention_kinds import ATTENTIONS
from ..layers.drop import DropPath, PatchDrop, add_branch, drop_path_rates
from ..layers.mlp import Mlp, QuickGELU, SwiGLU, norm_then_mlp, swiglu_hidden_dim
from ..layers.patch_embed import PatchEmbed
from ..layers.position import resize_pos_embed, sincos_2d, sinusoid_1d
from ..layers.rope import RotaryEmbedding2D
from ..layers.scale import LayerScale
from ..registry import MODELS
from .base import Backbone, init_linear_layers, resolve_arch, resolve_indices
from .out_types import format_tokens, resolve_out_type
from .vit_arch import ViTArch
from .vit_loading import adapt_position_on_load

ACTIVATIONS = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "quick_gelu": QuickGELU,
}


class Block(nn.Module):
    """Pre-norm transformer block: attention and MLP, each with norm, LayerScale and stochastic
    depth around it (ViT, Dosovitskiy et al. 2021, equations 2 and 3)."""

    def __init__(self, arch: ViTArch, attn: nn.Module, drop_path: float) -> None:
        super().__init__()
        dim = arch.embed_dims
        self.norm1 = nn.LayerNorm(dim, eps=arch.norm_eps)
        self.attn = attn
        self.norm2 = nn.LayerNorm(dim, eps=arch.norm_eps)
        if arch.mlp == "swiglu":
            self.mlp = SwiGLU(dim, swiglu_hidden_dim(dim, arch.mlp_ratio), drop=arch.drop_rate)
        else:
            hidden_dim, act = int(dim * arch.mlp_ratio), ACTIVATIONS[arch.mlp]
            self.mlp = Mlp(dim, hidden_dim, act, drop=arch.drop_rate)
        scaled = arch.layer_scale_init is not None
        self.ls1 = LayerScale(dim, arch.layer_scale_init) if scaled else nn.Identity()
        self.ls2 = LayerScale(dim, arch.layer_scale_init) if scaled else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Tensor, grid: tuple[int, int], rope: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            return self.ls1(self.attn(self.norm1(x), grid, rope))

        if rope is not None and rope[0].ndim > 2:  # each sample has its own
            x = x + self.drop_path(attend(x))
        else:
            x = add_branch(x, attend, self.drop_path)
        return add_branch(
            x, lambda x: self.ls2(norm_then_mlp(x, self.norm2, self.mlp)), self.drop_path
        )


@MODELS.register_module()
class VisionTransformer(Backbone):
    """ViT (Dosovitskiy et al. 2021) and its descendants: DeiT, DeiT-III, MAE, DINO, DINOv2, DINOv3,
    CLIP's image tower, ViTDet. ``arch`` says which; :class:`ViTArch` lists every setting with its
    source.

    Parameter names are timm's: ``cls_token``, ``reg_token``, ``pos_embed``, ``patch_embed.proj``,
    ``norm_pre``, ``blocks.N.{norm1,attn.qkv,attn.proj,ls1,norm2,mlp.fc1,mlp.fc2,ls2}``, ``norm``.

    Args:
        arch: Preset (``list_backbones()``) or dict of settings of :class:`ViTArch`.
        out_indices: Blocks whose output is returned, 0 for the first; negative ones count from the
            end.
        out_type: What is returned of each, shapes with C = ``embed_dims``:
            'cls_token' (B, C); 'featmap' (B, C, h, w) of the patches; 'avg_featmap' (B, C), their
            mean; 'raw' (B, P + h * w, C), P prefix tokens (class token, registers) first. Default:
            'cls_token', or 'featmap' where the architecture has no class token.
        frozen_stages: -1: nothing; k >= 0: the embedding and the first k blocks (all: the final
            norm as well).
        with_cp: Activation checkpointing per block.
        init_cfg: OpenMMLab's.
        settings: Single settings of :class:`ViTArch`; they win over ``arch``.

    Raises:
        UserError: A setting is unknown or can't work; in ``forward``, images of another shape.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "vit_b16",
        *,
        out_indices: int | Sequence[int] = -1,
        out_type: str | None = None,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(frozen_stages, with_cp, init_cfg)
        arch = resolve_arch(ViTArch, VisionTransformer, arch, settings)
        self.arch = arch
        self.in_channels = arch.in_channels
        self.embed_dims = dim = arch.embed_dims
        self.num_layers = arch.depth
        self.out_indices = resolve_indices(out_indices, arch.depth, "block")
        self.out_type = resolve_out_type(out_type, arch.cls_token)
        self.out_channels = (dim,) * len(self.out_indices)
        self.out_strides = (arch.patch[0],) * len(self.out_indices)
        self.num_prefix_tokens = int(arch.cls_token) + arch.num_registers
        self.check_frozen_stages(arch.depth, "block")
        self._check_out_type()

        self.patch_embed = PatchEmbed(arch.in_channels, dim, arch.patch, bias=not arch.pre_norm)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if arch.cls_token else None
        self.reg_token = (
            nn.Parameter(torch.zeros(1, arch.num_registers, dim)) if arch.num_registers else None
        )
        self.pos_embed = self._position_embedding()
        self.pos_drop = nn.Dropout(arch.drop_rate)
        self.patch_drop = PatchDrop(arch.patch_drop_rate)
        self.rope = (
            RotaryEmbedding2D(dim // arch.heads, arch.rope_base, arch.rope_rescale)
            if "rope2d" in arch.positions
            else None
        )
        self.norm_pre = nn.LayerNorm(dim, eps=arch.norm_eps) if arch.pre_norm else nn.Identity()
        rates = drop_path_rates(arch.drop_path_rate, arch.depth, arch.drop_path_uniform)
        self.blocks = nn.ModuleList(
            Block(arch, self._attention(i), rate) for i, rate in enumerate(rates)
        )
        self.norm = nn.LayerNorm(dim, eps=arch.norm_eps) if arch.final_norm else nn.Identity()
        self.fc_norm = nn.LayerNorm(dim, eps=arch.norm_eps) if arch.pool_norm else nn.Identity()

        self.register_load_state_dict_pre_hook(adapt_position_on_load)
        self._init_parameters()
        self.freeze()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (B, in_channels, H, W) -> one tensor per ``out_indices``, shapes by ``out_type``.

        With a patch of p pixels h = ceil(H / p) and w = ceil(W / p): sides that don't divide are
        padded with zeros at the bottom and right.
        """
        self.check_images(images)
        x = self.patch_embed(images)
        grid = (x.shape[-2], x.shape[-1])
        x = x.flatten(2).transpose(1, 2)
        x, kept = self._add_position(x, grid)
        x = self.norm_pre(x)
        rope = self._rope(grid, kept, x.device)

        outputs = []
        for i, block in enumerate(self.blocks):
            if i and self.rope is not None and self.rope.is_random:
                rope = self._rope(grid, kept, x.device)  # drawn anew for each block, as DINOv3 does
            x = self.run_block(block, x, grid, rope)
            if i in self.out_indices:
                last = i == self.num_layers - 1
                out = self.norm(x) if last or self.arch.norm_all_outputs else x
                out = format_tokens(out, grid, self.num_prefix_tokens, self.out_type)
                outputs.append(self.fc_norm(out))
        return tuple(outputs)

    def _add_position(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
        """Add absolute positions, drop patches (training), put the prefix tokens in front."""
        cls_token = self.cls_token
        if self.pos_embed is not None:
            prefix = self.pos_embed.shape[1] - self.arch.pos_grid[0] * self.arch.pos_grid[1]
            patches = self.pos_embed[:, prefix:]
            x = x + resize_pos_embed(patches, self.arch.pos_grid, grid, self.arch.interpolation)
            if prefix:
                cls_token = cls_token + self.pos_embed[:, :1]
        x, kept = self.patch_drop(x)
        tokens = [
            t.expand(x.shape[0], -1, -1) for t in (cls_token, self.reg_token) if t is not None
        ]
        return self.pos_drop(torch.cat([*tokens, x], dim=1) if tokens else x), kept

    def _rope(
        self, grid: tuple[int, int], kept: Tensor | None, device: torch.device
    ) -> tuple[Tensor, Tensor] | None:
        if self.rope is None:
            return None
        sin, cos = self.rope(grid, device)
        return (sin, cos) if kept is None else (sin[kept][:, None], cos[kept][:, None])

    def _attention(self, block: int) -> nn.Module:
        arch = self.arch
        kind, options = arch.attention_of(block)
        return ATTENTIONS[kind](
            arch.embed_dims,
            arch.heads,
            qkv_bias=arch.qkv_bias,
            key_bias=arch.key_bias,
            qk_norm=arch.qk_norm,
            norm_eps=arch.norm_eps,
            attn_drop=arch.attn_drop_rate,
            proj_drop=arch.drop_rate,
            rel_pos_grid=arch.grid if "decomposed" in arch.positions else None,
            **options,
        )

    def _position_embedding(self) -> nn.Parameter | None:
        arch = self.arch
        h, w = arch.pos_grid
        prefix = int(arch.cls_token and arch.pos_embed_cls)
        if "learned" in arch.positions:
            return nn.Parameter(torch.zeros(1, prefix + h * w, arch.embed_dims))
        if "sinusoid1d" in arch.positions:
            table = sinusoid_1d(prefix + h * w, arch.embed_dims)
        elif "sincos2d" in arch.positions:
            table = sincos_2d((h, w), arch.embed_dims)
            table = torch.cat([table.new_zeros(prefix, arch.embed_dims), table])
        else:
            return None
        return nn.Parameter(table[None], requires_grad=False)

    def _check_out_type(self) -> None:
        if self.arch.pool_norm and self.out_type != "avg_featmap":
            raise UserError("pool_norm=True is for out_type='avg_featmap', whose output it norms")
        if self.out_type == "featmap" and self.arch.patch_drop_rate:
            raise UserError(
                "out_type='featmap' needs every patch: set patch_drop_rate=0, or take another "
                "out_type"
            )

    def _init_parameters(self) -> None:
        """Truncated normal of deviation 0.02, zero biases (DeiT's code)."""
        init_linear_layers(self)
        for parameter in (self.cls_token, self.reg_token, self.pos_embed):
            if parameter is not None and parameter.requires_grad:
                nn.init.trunc_normal_(parameter, std=0.02)

    def frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        tokens = (self.cls_token, self.reg_token, self.pos_embed)
        parts: list = [t for t in tokens if t is not None]
        parts += [self.patch_embed, self.pos_drop, self.patch_drop, self.norm_pre]
        parts += [self.rope] if self.rope is not None else []
        parts += self.blocks[: self.frozen_stages]
        if self.frozen_stages == self.num_layers:
            parts += [self.norm, self.fc_norm]
        return parts

    def may_start_new(self, name: str) -> bool:
        """Positions that are computed, and decomposed ones, which begin at zero: ViTDet adds them
        to an encoder that was trained without (Li et al. 2022, appendix A.2)."""
        fixed = self.pos_embed is not None and not self.pos_embed.requires_grad
        decomposed = name.endswith((".rel_pos_h", ".rel_pos_w"))
        return name.startswith("fc_norm.") or decomposed or (fixed and name == "pos_embed")

    def layer_of(self, name: str) -> int:
        if name.startswith("blocks."):
            return int(name.split(".")[1]) + 1
        return self.num_layers + 1 if name.startswith(("norm.", "fc_norm.")) else 0
