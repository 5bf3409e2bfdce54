"""Rules of the optimizer for the new encoder's parameters, and AdamW in place of a ResNet's SGD."""

from __future__ import annotations

from collections.abc import Collection

from ..errors import UserError
from ..registry import type_name
from .draft import Draft

OURS = "vit_backbones.EncoderOptimWrapperConstructor"
# constructors that ours replaces: mmengine's own, and layer-wise decay for the libraries' encoders
REPLACED = (
    "",
    "DefaultOptimWrapperConstructor",
    "EncoderOptimWrapperConstructor",
    "LayerDecayOptimizerConstructor",
    "LayerDecayOptimWrapperConstructor",
    "LearningRateDecayOptimizerConstructor",
    "LearningRateDecayOptimWrapperConstructor",
)
# AdamW as the libraries' own Swin configs have it: learning rate, for which batch size, weight
# decay (mmdet: mask-rcnn_swin-t, mmseg: upernet_swin-t, mmpretrain: imagenet_bs1024_adamw_swin)
ADAMW = {"mmdet": (1e-4, 16, 0.05), "mmseg": (6e-5, 16, 0.01), "mmpretrain": (1e-3, 1024, 0.05)}


def fit_optimizer(
    draft: Draft,
    library: str,
    parameters: Collection[str],
    was_convolutional: bool,
    layer_decay_rate: float | None,
    keep_optimizer: bool,
) -> None:
    """Fit ``optim_wrapper``.

    Args:
        parameters: Names of the new backbone's parameters, as the model has them.
        was_convolutional: Whether the old backbone was one: SGD is changed to AdamW only then.
        layer_decay_rate: Of learning rates, from layer to layer; None: as the config has it.
        keep_optimizer: Leave the optimizer and its learning rate as they are.
    """
    wrapper = draft.get("optim_wrapper")
    if not isinstance(wrapper, dict) or "optimizer" not in wrapper:
        draft.note("The config has no single optimizer: its rules for parameters are left alone.")
        return
    _fit_rules(draft, parameters, layer_decay_rate)
    kind = type_name(draft.get("optim_wrapper.optimizer"))
    if not was_convolutional or kind in ("Adam", "AdamW"):
        return
    if kind == "SGD" and not keep_optimizer:
        _to_adamw(draft, library)
    else:
        draft.note(f"{kind} is kept; transformers are trained with AdamW, at other learning rates.")


def _fit_rules(draft: Draft, parameters: Collection[str], layer_decay_rate: float | None) -> None:
    constructor = dict(type=draft.get("optim_wrapper.constructor") or "")
    if type_name(constructor) not in REPLACED:
        if layer_decay_rate is not None:
            raise UserError(
                f"layer_decay_rate: the config has a constructor of its own for the optimizer, "
                f"{constructor['type']}"
            )
        draft.note(
            f"optim_wrapper.constructor {constructor['type']} is left: see to it that norms, "
            "biases and positions of the new encoder do not decay."
        )
        return
    draft.set("optim_wrapper.constructor", OURS)
    path = "optim_wrapper.paramwise_cfg"
    if draft.get(path) is None:
        draft.set(path, dict())
    rate = draft.get(f"{path}.decay_rate", draft.get(f"{path}.layer_decay_rate"))
    for key in ("decay_rate", "decay_type", "num_layers"):  # of the libraries' constructors
        draft.drop(f"{path}.{key}")
    rate = layer_decay_rate if layer_decay_rate is not None else rate
    if rate is not None:
        draft.set(f"{path}.layer_decay_rate", rate)
        if layer_decay_rate is None:
            draft.note(
                f"layer_decay_rate={rate:g} is the old backbone's; with more layers the first ones "
                "hardly train."
            )
    keys = draft.get(f"{path}.custom_keys") or {}
    kept = {
        key: rule
        for key, rule in keys.items()
        if not key.startswith("backbone.") or any(key in name for name in parameters)
    }
    if len(kept) < len(keys):  # rules for parts that the new encoder doesn't have
        draft.set(f"{path}.custom_keys", kept)


def _to_adamw(draft: Draft, library: str) -> None:
    old = draft.get("optim_wrapper.optimizer")
    rate, batch, decay = ADAMW[library]
    rate = rate * draft.get("auto_scale_lr.base_batch_size", batch) / batch
    draft.set("optim_wrapper.optimizer", dict(type="AdamW", lr=rate, weight_decay=decay))
    for i, schedule in enumerate(draft.get("param_scheduler") or ()):
        if isinstance(schedule, dict) and schedule.get("eta_min"):
            lowest = schedule["eta_min"] * rate / old["lr"]
            draft.set(f"param_scheduler.{i}.eta_min", float(f"{lowest:.3g}"))
    draft.note(
        f"SGD was for the convolutional backbone; AdamW with lr={rate:g}, weight_decay={decay:g} "
        f"is what {library}'s Swin configs train with (keep_optimizer=True leaves SGD)."
    )
