"""The contract that every encoder of this package keeps, and what they share to keep it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule, PretrainedInit, update_init_info
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..arguments import check_flags, is_integer
from ..errors import UserError, nearest
from .presets import get_preset

Arch = TypeVar("Arch")


def resolve_arch(
    arch_class: type[Arch],
    encoder: type[Backbone],
    arch: str | Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Arch:
    """The architecture: a preset or a dict, then single settings on top of it; checked.

    Args:
        arch_class: Dataclass whose fields are the settings of this type of encoder, with defaults.
        encoder: Class of the encoder.
        arch: Name of a preset, or a dict of settings.
        settings: Keyword arguments given beside ``arch``; they win over it.

    Raises:
        UserError: ``arch`` is no preset of this type, or a setting has an unknown name or can't
            work.
    """
    if isinstance(arch, str):
        preset = get_preset(arch)
        if preset.type != encoder.__name__:
            raise UserError(
                f"preset '{arch}' is a {preset.type}, not a {encoder.__name__}; "
                f"use type='vit_backbones.{preset.type}'"
            )
        base = dict(preset.settings)
    elif isinstance(arch, Mapping):
        base = dict(arch)
    else:
        raise UserError(f"arch must be a preset's name or a dict of settings, not {arch!r}")
    known = [field.name for field in dataclasses.fields(arch_class)]
    arguments = inspect.signature(encoder.__init__).parameters.values()
    options = [a.name for a in arguments if a.kind is a.KEYWORD_ONLY]
    for name in (*base, *settings):
        if name in base and name in options:
            raise UserError(f"'{name}' is no part of arch: give it beside arch, not inside")
        if name not in known:
            raise UserError(
                f"{encoder.__name__} has no setting '{name}'"
                f"{nearest(name, [*known, *options]) or '.'} "
                f"Its settings: {', '.join(known)}"
            )
    resolved = arch_class(**{**base, **settings})
    check_flags(resolved)
    resolved.check()
    return resolved


def resolve_indices(indices: int | Sequence[int], total: int, unit: str) -> tuple[int, ...]:
    """``out_indices`` as ascending non-negative numbers; negative ones count from the end.

    Raises:
        UserError: One is out of range or given twice.
    """
    given = tuple(indices) if isinstance(indices, Sequence) else (indices,)
    if not given:
        raise UserError(f"out_indices is empty; name at least one of the {total} {unit}s")
    resolved = []
    for index in given:
        if not is_integer(index) or not -total <= index < total:
            raise UserError(
                f"out_indices {indices!r}: {index!r} is out of range; the encoder has {total} "
                f"{unit}s, 0 to {total - 1} (or -{total} to -1 from the end)"
            )
        resolved.append(int(index) % total)
    if len(set(resolved)) < len(resolved):
        raise UserError(f"out_indices {indices!r} names a {unit} twice")
    return tuple(sorted(resolved))


def init_linear_layers(encoder: nn.Module) -> None:
    """Truncated normal of deviation 0.02, zero biases: DeiT's code, and Swin's and MViT's after
    it."""
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Backbone(BaseModule):
    """Base of all encoders: images (B, 3, H, W) in, a tuple of features out, shallow to deep.

    A subclass sets, before its ``__init__`` ends:

    * ``in_channels``, ``num_layers`` (blocks in all), ``out_indices``;
    * ``out_channels`` and ``out_strides``: one number per output, for necks and heads;

    and implements ``frozen_parts``, ``layer_of`` and ``forward``.

    Args:
        frozen_stages: -1 trains everything; k >= 0 freezes the embedding and the first k stages
            (blocks, for a plain ViT): no gradients, eval mode, in ``train()`` too.
        with_cp: Activation checkpointing: recompute each block's activations in the backward pass.
        init_cfg: As everywhere in OpenMMLab, ``dict(type='Pretrained', checkpoint=...)`` included.
    """

    in_channels: int
    num_layers: int
    out_indices: tuple[int, ...]
    out_channels: tuple[int, ...]
    out_strides: tuple[int, ...]

    def __init__(
        self, frozen_stages: int = -1, with_cp: bool = False, init_cfg: dict | list | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.frozen_stages = frozen_stages
        self.with_cp = with_cp

    def init_weights(self) -> None:
        """As mmengine's, but ``dict(type='Pretrained', checkpoint=..., prefix=..., strict=...)``
        goes through :func:`load_checkpoint`: any published layout, and an error where mmengine
        would go on with nothing loaded.

        Raises:
            UserError: The checkpoint can't be loaded, or does not fill the encoder.
        """
        init_cfg, done = self.init_cfg, self._is_init
        configs = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
        pretrained = [c for c in configs if c["type"] in ("Pretrained", PretrainedInit)]
        self.init_cfg = [c for c in configs if c not in pretrained]
        super().init_weights()
        self.init_cfg = init_cfg
        for config in () if done else pretrained:
            from ..checkpoint import load_checkpoint  # it builds presets, so it needs this module

            report = load_checkpoint(
                self,
                config["checkpoint"],
                prefix=config.get("prefix"),
                strict=config.get("strict", True),
                quiet=True,
            )
            print_log(str(report), logger="current")
            if hasattr(self, "_params_init_info"):  # mmengine's record of what initialised what
                update_init_info(self, init_info=f"loaded from {config['checkpoint']}")

    def frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        """The modules and parameters that ``frozen_stages`` freezes (asked only when it is >=
        0)."""
        raise NotImplementedError

    def layer_of(self, name: str) -> int:
        """Depth of parameter ``name`` (without prefix): 0 the embedding, 1 the first block, ...,
        ``num_layers`` the last block, ``num_layers + 1`` what comes after it."""
        raise NotImplementedError

    def may_start_new(self, name: str) -> bool:
        """Whether a checkpoint may lack parameter ``name``, which then keeps its first value."""
        return False

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """(depth of the parameter, number of depths), for layer-wise learning-rate decay.

        The interface of mmpretrain's backbones. Names that don't start with ``prefix`` belong to
        the head and get the last depth.
        """
        total = self.num_layers + 2
        if not param_name.startswith(prefix):
            return total - 1, total
        return self.layer_of(param_name[len(prefix) :]), total

    def freeze(self) -> None:
        """Apply ``frozen_stages``."""
        if self.frozen_stages < 0:
            return
        for part in self.frozen_parts():
            part.requires_grad_(False)
            if isinstance(part, nn.Module):
                part.eval()

    def check_frozen_stages(self, total: int, unit: str) -> None:
        """Raise a UserError unless ``frozen_stages`` is -1 or a number of ``unit``s up to
        ``total``."""
        if not is_integer(self.frozen_stages) or not -1 <= self.frozen_stages <= total:
            raise UserError(
                f"frozen_stages must be -1 (nothing frozen) to {total} ({unit}s), "
                f"not {self.frozen_stages!r}"
            )

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode)
        if mode:
            self.freeze()
        return self

    def check_images(self, images: Tensor) -> None:
        """Raise a UserError unless ``images`` is (B, in_channels, H, W)."""
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise UserError(
                f"{type(self).__name__} takes images of shape (batch, {self.in_channels}, height, "
                f"width), but got {tuple(images.shape)}; set in_channels= for other channel counts"
            )

    def run_block(self, block: Callable[..., Any], *args: Any) -> Any:
        """``block(*args)``, checkpointed where ``with_cp`` asks for it and gradients are
        recorded."""
        if self.with_cp and self.training and torch.is_grad_enabled():
            return checkpoint(block, *args, use_reentrant=False)
        return block(*args)
