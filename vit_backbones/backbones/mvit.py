"""Multiscale vision transformers: MViT and MViTv2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..layers.drop import DropPath, add_branch, drop_path_rates
from ..layers.linear import Linear
from ..layers.mlp import Mlp, norm_then_mlp
from ..layers.pooling_attention import Pooling, PoolingAttention, pool_tokens
from ..layers.position import resize_pos_embed
from ..registry import MODELS
from .base import Backbone, init_linear_layers, resolve_arch, resolve_indices
from .mvit_arch import BlockPlan, MViTArch
from .out_types import format_tokens, resolve_out_type


class MultiscaleBlock(nn.Module):
    """Pooling attention and MLP, each with norm and stochastic depth around it (MViTv2, Li et al.
    2022, figure 2).

    The skip path around an attention that shrinks the map is max-pooled. The skip path around the
    part that widens the tokens, attention or MLP, is a linear map of the normed tokens.
    """

    def __init__(self, arch: MViTArch, plan: BlockPlan, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(plan.dim, eps=arch.norm_eps)
        self.attn = PoolingAttention(
            plan.dim,
            plan.attn_dim,
            plan.num_heads,
            plan.pool_q,
            plan.pool_kv,
            qkv_bias=arch.qkv_bias,
            rel_pos_grid=plan.grid if arch.rel_pos else None,
            residual_pooling=arch.residual_pooling,
            window=plan.window,
            norm_eps=arch.norm_eps,
        )
        self.norm2 = nn.LayerNorm(plan.attn_dim, eps=arch.norm_eps)
        self.mlp = Mlp(
            plan.attn_dim, int(plan.attn_dim * arch.mlp_ratio), nn.GELU, out_dim=plan.out_dim
        )
        if plan.dim != plan.out_dim:
            self.proj = Linear(plan.dim, plan.out_dim)
        self.widens_attention = plan.attn_dim != plan.dim
        self.widens_mlp = plan.out_dim != plan.attn_dim
        self.pool_skip = (
            Pooling("max", plan.stride_q + 1, plan.stride_q) if plan.stride_q > 1 else None
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """Tokens (B, P + h * w, dim) on the grid (h, w) -> tokens (B, P + h' * w', out_dim) on the
        grid (h', w'), P prefix tokens first; also the new grid."""
        if self.widens_attention or self.pool_skip is not None:
            y = self.norm1(x)
            attended, new_grid = self.attn(y, grid)
            if self.widens_attention:
                x = self.proj(y)
            if self.pool_skip is not None:
                x, _ = pool_tokens(x, grid, self.pool_skip)
            x = x + self.drop_path(attended)
            grid = new_grid
        else:
            x = add_branch(x, lambda x: self.attn(self.norm1(x), grid)[0], self.drop_path)
        if self.widens_mlp:
            y = self.norm2(x)
            return self.proj(y) + self.drop_path(self.mlp(y)), grid
        return add_branch(x, lambda x: norm_then_mlp(x, self.norm2, self.mlp), self.drop_path), grid


@MODELS.register_module()
class MViT(Backbone):
    """MViT (Fan et al. 2021) and MViTv2 (Li et al. 2022) for images. ``arch`` says which;
    :class:`MViTArch` lists every setting.

    Parameter names are those of the authors' code: ``patch_embed.proj``, ``cls_token``,
    ``pos_embed`` (or ``pos_embed_{spatial,temporal,class}``),
    ``blocks.N.{norm1,attn,norm2,mlp,proj}``, and ``norm`` after the last stage. Outputs of earlier
    stages have norms of their own, ``norm0``, ``norm1``, ...

    Args:
        arch: Preset (``list_backbones('mvit*')``) or dict of settings of :class:`MViTArch`.
        out_indices: Stages whose output is returned, 0 for the first; negative ones count from the
            end. Their strides are 4, 8, 16 and 32 pixels.
        out_type: What is returned of each, shapes with C of ``out_channels``:
            'cls_token' (B, C); 'featmap' (B, C, h, w) of the patches; 'avg_featmap' (B, C), their
            mean; 'raw' (B, P + h * w, C), the class token first. Default: 'cls_token', or 'featmap'
            where the architecture has no class token.
        frozen_stages: -1: nothing; k >= 0: the embedding and the first k stages with their norms.
        with_cp: Activation checkpointing per block.
        init_cfg: OpenMMLab's.
        settings: Single settings of :class:`MViTArch`; they win over ``arch``.

    Raises:
        UserError: A setting is unknown or can't work; in ``forward``, images of another shape.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "mvitv2_b",
        *,
        out_indices: int | Sequence[int] = -1,
        out_type: str | None = None,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(frozen_stages, with_cp, init_cfg)
        arch = resolve_arch(MViTArch, MViT, arch, settings)
        self.arch = arch
        stages, dims = len(arch.depths), arch.out_dims
        self.in_channels = arch.in_channels
        self.embed_dims = arch.embed_dims
        self.num_layers = sum(arch.depths)
        self.num_prefix_tokens = int(arch.cls_token)
        self.out_indices = resolve_indices(out_indices, stages, "stage")
        self.out_type = resolve_out_type(out_type, arch.cls_token)
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(arch.patch_stride * 2**i for i in self.out_indices)
        self.check_frozen_stages(stages, "stage")

        self.patch_embed = OverlappingPatchEmbed(arch)
        self._add_position_parameters()
        rates = drop_path_rates(arch.drop_path_rate, self.num_layers)
        self.blocks = nn.ModuleList(
            MultiscaleBlock(arch, plan, rate) for plan, rate in zip(arch.plan(), rates)
        )
        for i in self.out_indices:
            self.add_module(self._norm_name(i), nn.LayerNorm(dims[i], eps=arch.norm_eps))

        self.register_load_state_dict_pre_hook(_adapt_position_on_load)
        self._init_parameters()
        self.freeze()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (B, in_channels, H, W) -> one tensor per ``out_indices``, shapes by ``out_type``.

        The map of stage i has h = ceil(H / (4 * 2 ** i)) rows, and w columns likewise.
        """
        self.check_images(images)
        x, grid = self.patch_embed(images)
        x = self._add_position(x, grid)

        outputs = []
        for i, block in enumerate(self.blocks):
            x, grid = self.run_block(block, x, grid)
            if i in self.arch.stage_ends:
                stage = self.arch.stage_ends.index(i)
                if stage in self.out_indices:
                    norm = getattr(self, self._norm_name(stage))
                    prefix = self.num_prefix_tokens
                    outputs.append(format_tokens(norm(x), grid, prefix, self.out_type))
        return tuple(outputs)

    def _add_position(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Add absolute positions and put the class token in front."""
        arch, cls_token = self.arch, self.cls_token
        if arch.pos_embed == "joint":
            prefix = self.num_prefix_tokens
            patches, cls_position = self.pos_embed[:, prefix:], self.pos_embed[:, :prefix]
        elif arch.pos_embed == "separate":
            patches = self.pos_embed_spatial + self.pos_embed_temporal
            cls_position = self.pos_embed_class
        if arch.pos_embed != "none":
            x = x + resize_pos_embed(patches, arch.grid, grid, arch.interpolation)
            if cls_token is not None:
                cls_token = cls_token + cls_position
        if cls_token is None:
            return x
        return torch.cat([cls_token.expand(x.shape[0], -1, -1), x], dim=1)

    def _norm_name(self, stage: int) -> str:
        return "norm" if stage == len(self.arch.depths) - 1 else f"norm{stage}"

    def _add_position_parameters(self) -> None:
        arch, dim = self.arch, self.arch.embed_dims
        h, w = arch.grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if arch.cls_token else None
        if arch.pos_embed == "joint":
            self.pos_embed = nn.Parameter(torch.zeros(1, self.num_prefix_tokens + h * w, dim))
        elif arch.pos_embed == "separate":
            self.pos_embed_spatial = nn.Parameter(torch.zeros(1, h * w, dim))
            self.pos_embed_temporal = nn.Parameter(torch.zeros(1, 1, dim))
            self.pos_embed_class = nn.Parameter(torch.zeros(1, 1, dim)) if arch.cls_token else None

    def _init_parameters(self) -> None:
        """Truncated normal of deviation 0.02 for linear layers and positions, zero biases (the
        authors' code)."""
        init_linear_layers(self)
        for name, parameter in self.named_parameters():
            if "pos" in name.split(".")[-1] or name == "cls_token":
                nn.init.trunc_normal_(parameter, std=0.02)

    def frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        k, ends = self.frozen_stages, self.arch.stage_ends
        parts: list = [self.patch_embed]
        parts += self.parameters(recurse=False)
        parts += self.blocks[: ends[k - 1] + 1] if k else []
        parts += [getattr(self, self._norm_name(i)) for i in self.out_indices if i < k]
        return parts

    def may_start_new(self, name: str) -> bool:
        """The norms of earlier outputs: a classifier has that of the last alone."""
        return name.startswith(tuple(f"norm{i}." for i in self.out_indices))

    def layer_of(self, name: str) -> int:
        if name.startswith("blocks."):
            return int(name.split(".")[1]) + 1
        return self.num_layers + 1 if name.startswith("norm") else 0


class OverlappingPatchEmbed(nn.Module):
    """Patches that overlap, by a strided convolution: images (B, in_channels, H, W) -> tokens
    (B, h * w, embed_dims) and their grid (h, w)."""

    def __init__(self, arch: MViTArch) -> None:
        super().__init__()
        self.proj = nn.Conv2d(
            arch.in_channels,
            arch.embed_dims,
            arch.patch_kernel,
            stride=arch.patch_stride,
            padding=arch.patch_kernel // 2,
        )

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        x = self.proj(images)
        return x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3])


def _adapt_position_on_load(model: MViT, state_dict: dict[str, Tensor], prefix: str, *_) -> None:
    """A ``load_state_dict`` pre-hook: fit a file's absolute positions to the model's grid and form.

    For one frame the joint and the separate form hold the same: the published image model is joint,
    the paper's is separate. What fits already stays as it is, and what can't be understood is left
    for load_state_dict to complain about.
    """
    own = {
        prefix + name: parameter.shape
        for name, parameter in model.named_parameters(recurse=False)
        if name.startswith("pos_embed")
    }
    if all(key in state_dict and state_dict[key].shape == shape for key, shape in own.items()):
        return
    form, cls = model.arch.pos_embed, model.num_prefix_tokens
    joint, spatial, temporal, of_class = (
        prefix + "pos_embed" + part for part in ("", "_spatial", "_temporal", "_class")
    )
    if joint in state_dict:
        positions = state_dict[joint]
        cls_position, patches = positions[:, :cls], positions[:, cls:]
    elif spatial in state_dict and temporal in state_dict:
        if state_dict[temporal].shape[1] != 1:
            return
        patches = state_dict[spatial] + state_dict[temporal]
        cls_position = state_dict.get(of_class, patches[:, :0])
    else:
        return
    if form == "none" or cls_position.shape[1] != cls:
        return
    new_grid, side = model.arch.grid, math.isqrt(patches.shape[1])
    if patches.shape[1] != math.prod(new_grid):
        if side * side != patches.shape[1]:
            return
        patches = resize_pos_embed(patches, (side, side), new_grid, model.arch.interpolation)
    for name in (joint, spatial, temporal, of_class):
        state_dict.pop(name, None)
    if form == "joint":
        state_dict[joint] = torch.cat([cls_position, patches], dim=1)
    else:
        state_dict[spatial], state_dict[temporal] = patches, torch.zeros_like(patches[:, :1])
        if cls:
            state_dict[of_class] = cls_position
