"""Layer-wise learning-rate decay for every model that holds an encoder with `get_layer_depth`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from ..errors import UserError
from ..registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with learning rates that fall from the head towards the patch
    embedding.

    A parameter at depth d of D trains with ``lr * layer_decay_rate ** (D - 1 - d)``: the head,
    necks and decoders with the full rate (ELECTRA, Clark et al. 2020, section 3.1; BEiT, Bao et al.
    2021, appendix).

    The rate is ``paramwise_cfg['layer_decay_rate']`` (default: 1), as in mmpretrain.
    ``paramwise_cfg['encoder_lr_mult']`` (default: 1) is a factor for all of the encoder: the lower
    rate that DETR's descendants and Mask2Former give it. A custom key 'backbone' would do the same,
    but shadow ``norm_decay_mult`` and all shorter keys. Everything else in ``paramwise_cfg`` is
    mmengine's (``norm_decay_mult``, ``bias_decay_mult``, ``flat_decay_mult``, ``custom_keys``).
    Unlike mmpretrain's constructor it finds the encoder at any place in a model, so mmdet's
    detectors and mmseg's segmenters can use it. Parameters with equal settings share a group of the
    optimizer, in the order of their first: mmengine gives each a group of its own, which fused and
    foreach optimizers step through one by one. A parameter that modules share counts once, by its
    first name, as in ``model.parameters()``.

    Raises:
        UserError: No module of the model has `get_layer_depth`, or a rate is not in (0, 1].
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        self.decay_rate = self._rate("layer_decay_rate")
        self.encoder_lr_mult = self._rate("encoder_lr_mult")

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = "", **kwargs) -> None:
        super().add_params(params, module, prefix=prefix, **kwargs)
        if prefix:
            return
        # the outermost call of a recursion: all groups are there, each of one parameter, and for a
        # shared one as many as places
        first: dict[int, dict] = {}
        for group in params:
            first.setdefault(id(group["params"][0]), group)
        encoders = find_encoders(module)
        names = {id(param): name for name, param in module.named_parameters()}
        for param, group in first.items():
            self.set_rules(group, names[param], encoders)
        params[:] = merge_equal(first.values())

    def set_rules(self, group: dict, name: str, encoders: dict[str, nn.Module]) -> None:
        """Change the settings of the group of the parameter of that name."""
        depth, total = layer_depth(name, encoders)
        group["lr_scale"] = self.decay_rate ** (total - 1 - depth)
        if name.startswith(tuple(encoders)):
            group["lr_scale"] *= self.encoder_lr_mult
        group["lr"] = group.get("lr", self.base_lr) * group["lr_scale"]
        MMLogger.get_current_instance().debug(
            f"layer {depth}: lr {group['lr']:.3g}, weight decay "
            f"{group.get('weight_decay', self.base_wd)}: {name}"
        )

    def _rate(self, name: str) -> float:
        rate = self.paramwise_cfg.get(name, 1.0)
        if not 0 < rate <= 1:
            raise UserError(f"{name} must lie in (0, 1], not {rate!r}")
        return rate


def merge_equal(groups: Iterable[dict]) -> list[dict]:
    """One group for all parameters with the same settings."""
    merged: dict[str, dict] = {}
    for group in groups:
        settings = {key: value for key, value in group.items() if key != "params"}
        first = merged.setdefault(repr(sorted(settings.items())), {**settings, "params": []})
        first["params"] += group["params"]
    return list(merged.values())


def find_encoders(model: nn.Module) -> dict[str, nn.Module]:
    """Prefix of the parameter names -> encoder."""
    found = {f"{name}.": m for name, m in model.named_modules() if name and _tells_depth(m)}
    outermost = {
        p: m for p, m in found.items() if not any(p != q and p.startswith(q) for q in found)
    }
    if not outermost and _tells_depth(model):
        return {"": model}
    if not outermost:
        raise UserError(
            "layer-wise learning-rate decay needs an encoder with get_layer_depth, but "
            f"{type(model).__name__} has none; use one of vit_backbones, or drop the constructor "
            "from optim_wrapper"
        )
    return outermost


def layer_depth(name: str, encoders: dict[str, nn.Module]) -> tuple[int, int]:
    """(depth, number of depths) of a parameter; what belongs to no encoder counts as the head."""
    for prefix, encoder in encoders.items():
        if name.startswith(prefix):
            return encoder.get_layer_depth(name, prefix)
    return 0, 1


def _tells_depth(module: nn.Module) -> bool:
    """mmpretrain's classifiers have a get_layer_depth, too; without a prefix, it asks their
    encoder."""
    method = getattr(module, "get_layer_depth", None)
    return callable(method) and "prefix" in inspect.signature(method).parameters
