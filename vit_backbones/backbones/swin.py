"""The hierarchical transformers with shifted windows: Swin and Swin v2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..layers.chunks import computes_in_parts, records_gradients, split_mlp_rows
from ..layers.drop import DropPath, add_branch, drop_path_rates
from ..layers.linear import Linear
from ..layers.mlp import Mlp, norm_then_mlp
from ..layers.patch_embed import PatchEmbed
from ..layers.position import resize_pos_embed
from ..layers.shifted_window import WindowPlan, fit_window, flat_rows, plan_windows
from ..layers.shifted_window_attention import CosineWindowAttention, TableWindowAttention
from ..layers.window import ceil_div, pad_map
from ..registry import MODELS
from .base import Backbone, init_linear_layers, resolve_arch, resolve_indices
from .out_types import to_map
from .swin_arch import SwinArch


class SwinBlock(nn.Module):
    """Windowed attention and MLP, each with norm and stochastic depth (Swin, Liu et al. 2021,
    figure 3b); in version 2 the norms come after them (Swin v2, Liu et al. 2022, figure 1)."""

    def __init__(self, arch: SwinArch, stage: int, shifted: bool, drop_path: float) -> None:
        super().__init__()
        dim, heads = arch.dims[stage], arch.heads[stage]
        rates = dict(attn_drop=arch.attn_drop_rate, proj_drop=arch.drop_rate)
        self.shifted = shifted
        self.post_norm = arch.version == 2
        self.norm1 = nn.LayerNorm(dim)
        if arch.version == 2:
            window = arch.pretrained_windows[stage]
            self.attn = CosineWindowAttention(dim, heads, window, arch.qkv_bias, **rates)
        else:
            window = arch.windows[stage]
            self.attn = TableWindowAttention(dim, heads, window, arch.qkv_bias, **rates)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * arch.mlp_ratio), drop=arch.drop_rate)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, plan: WindowPlan) -> Tensor:
        """(B, h * w, dim) -> the same."""
        if self._infers(x) and computes_in_parts(x, self):
            return self._infer_by_parts(x, plan)
        if self.post_norm:
            x = add_branch(x, lambda x: self.norm1(self.attn(x, plan)), self.drop_path)
            return add_branch(x, lambda x: self.norm2(self.mlp(x)), self.drop_path)
        x = add_branch(x, lambda x: self.attn(self.norm1(x), plan), self.drop_path)
        return add_branch(x, lambda x: norm_then_mlp(x, self.norm2, self.mlp), self.drop_path)

    def _infers(self, x: Tensor) -> bool:
        """No gradients, nothing random (a part may be in training mode alone), and no other modules
        in the place of attention and MLP."""
        attention = CosineWindowAttention if self.post_norm else TableWindowAttention
        return (
            type(self.attn) is attention
            and type(self.mlp) is Mlp
            and not any(m.training for m in self.modules())
            and not records_gradients(x, *self.parameters())
        )

    def _infer_by_parts(self, x: Tensor, plan: WindowPlan) -> Tensor:
        """First some windows after the other, then some rows of the map."""
        pre, post = (nn.Identity(), self.norm1) if self.post_norm else (self.norm1, nn.Identity())
        windows = self.attn.attend_by_parts(x, pre, plan)
        slots = flat_rows(plan.join.index, x.shape[0], plan.split.index.shape[0])
        result = torch.empty_like(x, memory_format=torch.contiguous_format)
        width = self.mlp.fc1.out_features
        parts = (split_mlp_rows(t, width) for t in (slots, x.flatten(0, 1), result.flatten(0, 1)))
        for slots, before, after in zip(*parts):
            attended = self.attn.proj(windows.index_select(0, slots))
            torch.add(before, post(attended), out=after)
            if self.post_norm:
                after += self.norm2(self.mlp(after))
            else:
                after += norm_then_mlp(after, self.norm2, self.mlp)
        return result


class PatchMerging(nn.Module):
    """Each 2 x 2 neighbours become one token of twice the width (Swin, section 3.1); version 2
    norms the result instead of the neighbours. Maps of odd sides are padded with zeros."""

    def __init__(self, dim: int, post_norm: bool) -> None:
        super().__init__()
        self.post_norm = post_norm
        self.reduction = Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(2 * dim if post_norm else 4 * dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """(B, h * w, dim) -> (B, h' * w', 2 * dim) and (h', w'), half of (h, w), rounded up."""
        (h, w), (B, _, C) = grid, x.shape
        rows, columns = ceil_div(h, 2), ceil_div(w, 2)
        x = pad_map(x.reshape(B, h, w, C), (2 * rows, 2 * columns))
        # The neighbours' order in the channels: down first, then right.
        x = x.reshape(B, rows, 2, columns, 2, C).permute(0, 1, 3, 4, 2, 5)
        x = x.reshape(B, rows * columns, 4 * C)
        x = self.norm(self.reduction(x)) if self.post_norm else self.reduction(self.norm(x))
        return x, (rows, columns)


class SwinStage(nn.Module):
    """The blocks that work on one map, plain and shifted in turn, and the merging that follows."""

    def __init__(
        self, arch: SwinArch, stage: int, drop_path_rates: Sequence[float], downsample: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(arch, stage, shifted=i % 2 == 1, drop_path=rate)
            for i, rate in enumerate(drop_path_rates)
        )
        dim = arch.dims[stage]
        self.downsample = PatchMerging(dim, arch.version == 2) if downsample else None


@MODELS.register_module()
class SwinTransformer(Backbone):
    """Swin (Liu et al. 2021) and Swin v2 (Liu et al. 2022). ``arch`` says which; :class:`SwinArch`
    lists every setting.

    Parameter names are those of the authors' code: ``patch_embed.{proj,norm}``,
    ``layers.N.blocks.M.{norm1,attn,norm2,mlp}``, ``layers.N.downsample.{norm,reduction}``; ``norm``
    after the last stage where that is the only output, as in their classifier, else ``normN`` after
    each stage N that is put out, as in their detector.

    Args:
        arch: Preset (``list_backbones('swin*')``) or dict of settings of :class:`SwinArch`.
        out_indices: Stages whose output is returned, 0 for the first; negative ones count from the
            end. Their strides are 4, 8, 16 and 32 pixels.
        frozen_stages: -1: nothing; k >= 0: the embedding and the first k stages with their norms.
        with_cp: Activation checkpointing per block.
        init_cfg: OpenMMLab's.
        settings: Single settings of :class:`SwinArch`; they win over ``arch``.

    Raises:
        UserError: A setting is unknown or can't work; in ``forward``, images of another shape.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "swin_t",
        *,
        out_indices: int | Sequence[int] = -1,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(frozen_stages, with_cp, init_cfg)
        arch = resolve_arch(SwinArch, SwinTransformer, arch, settings)
        self.arch = arch
        stages = len(arch.depths)
        self.in_channels = arch.in_channels
        self.embed_dims = arch.embed_dims
        self.num_layers = sum(arch.depths)
        self.out_indices = resolve_indices(out_indices, stages, "stage")
        self.out_channels = tuple(arch.dims[i] for i in self.out_indices)
        self.out_strides = tuple(arch.patch_size * 2**i for i in self.out_indices)
        self.check_frozen_stages(stages, "stage")

        patch = (arch.patch_size, arch.patch_size)
        self.patch_embed = PatchEmbed(
            arch.in_channels, arch.embed_dims, patch, norm_layer=nn.LayerNorm
        )
        self.absolute_pos_embed = None
        if arch.use_abs_pos_embed:
            h, w = arch.grid
            self.absolute_pos_embed = nn.Parameter(torch.empty(1, h * w, arch.embed_dims))
        self.pos_drop = nn.Dropout(arch.drop_rate)
        rates = iter(drop_path_rates(arch.drop_path_rate, self.num_layers))
        self.layers = nn.ModuleList(
            SwinStage(arch, i, [next(rates) for _ in range(depth)], downsample=i < stages - 1)
            for i, depth in enumerate(arch.depths)
        )
        for i in self.out_indices:
            self.add_module(self._norm_name(i), nn.LayerNorm(arch.dims[i]))

        self.register_load_state_dict_pre_hook(_adapt_on_load)
        self._init_parameters()
        self.freeze()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (B, in_channels, H, W) -> one map (B, C, h, w) per ``out_indices``.

        The map of stage i has h = ceil(H / (4 * 2 ** i)) rows, and w columns likewise: images,
        windows and merged neighbours are padded with zeros at the bottom and right.
        """
        self.check_images(images)
        x = self.patch_embed(images)
        grid = x.shape[2:]
        x = self._add_position(x.flatten(2).transpose(1, 2), grid)

        outputs = []
        for i, stage in enumerate(self.layers):
            plain, shifted = self._plans(i, grid, x.device)
            for block in stage.blocks:
                x = self.run_block(block, x, shifted if block.shifted else plain)
            if i in self.out_indices:
                out = getattr(self, self._norm_name(i))(x)
                outputs.append(to_map(out, grid))
            if stage.downsample is not None:
                x, grid = stage.downsample(x, grid)
        return tuple(outputs)

    def _add_position(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.absolute_pos_embed is not None:
            x = x + resize_pos_embed(self.absolute_pos_embed, self.arch.grid, tuple(grid))
        return self.pos_drop(x)

    def _plans(
        self, stage: int, grid: tuple[int, int], device: torch.device
    ) -> tuple[WindowPlan, WindowPlan]:
        """How the plain and the shifted blocks of a stage cut their map."""
        window, pad = self.arch.windows[stage], self.arch.pad_small_map
        plain, shifted = (
            plan_windows(tuple(grid), *fit_window(grid, window, shifted, pad), device)
            for shifted in (False, True)
        )
        return plain, shifted

    def _norm_name(self, stage: int) -> str:
        only_last = self.out_indices == (len(self.arch.depths) - 1,)
        return "norm" if only_last else f"norm{stage}"

    def _init_parameters(self) -> None:
        """As the authors' code: truncated normal of deviation 0.02, zero biases; in version 2 each
        residual branch ends in a norm that starts at zero."""
        init_linear_layers(self)
        for module in self.modules():
            if isinstance(module, SwinBlock) and module.post_norm:
                nn.init.zeros_(module.norm1.weight)
                nn.init.zeros_(module.norm2.weight)
        if self.absolute_pos_embed is not None:
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)

    def frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        parts: list = [self.patch_embed, self.pos_drop]
        if self.absolute_pos_embed is not None:
            parts.append(self.absolute_pos_embed)
        parts += self.layers[: self.frozen_stages]
        parts += [
            getattr(self, self._norm_name(i)) for i in self.out_indices if i < self.frozen_stages
        ]
        return parts

    def may_start_new(self, name: str) -> bool:
        """The norms of several outputs: a classifier has that of the last alone."""
        return name.startswith(tuple(f"norm{i}." for i in self.out_indices))

    def layer_of(self, name: str) -> int:
        """A stage's merging counts with its last block, as in mmpretrain."""
        if name.startswith("layers."):
            _, stage, part, *rest = name.split(".")
            if part == "downsample":
                return sum(self.arch.depths[: int(stage) + 1])
            return sum(self.arch.depths[: int(stage)]) + int(rest[0]) + 1
        return self.num_layers + 1 if name.startswith("norm") else 0


def _adapt_on_load(model: SwinTransformer, state_dict: dict, prefix: str, *_) -> None:
    """A ``load_state_dict`` pre-hook: fit a file's absolute positions and final norm to the model.

    A model with the last output alone takes a detector's norm of it for its own. One with several
    outputs starts their norms afresh from a classifier, as the authors' detectors do.
    """
    for key in [k for k in state_dict if k.startswith(prefix) and k.endswith(".attn_mask")]:
        del state_dict[key]
    final = f"{prefix}norm{len(model.arch.depths) - 1}."
    if hasattr(model, "norm"):
        for name in ("weight", "bias"):
            if final + name in state_dict:
                state_dict.setdefault(f"{prefix}norm.{name}", state_dict.pop(final + name))

    key, own = prefix + "absolute_pos_embed", model.absolute_pos_embed
    if key in state_dict and own is not None:
        pos = state_dict[key]
        if pos.ndim == 4:  # the authors' detection code: (1, C, h, w)
            grid, pos = tuple(pos.shape[2:]), pos.flatten(2).transpose(1, 2)
        else:
            side = round(pos.shape[1] ** 0.5)
            grid = model.arch.grid if pos.shape[1] == own.shape[1] else (side, side)
        if grid[0] * grid[1] == pos.shape[1]:
            state_dict[key] = resize_pos_embed(pos, grid, model.arch.grid)
