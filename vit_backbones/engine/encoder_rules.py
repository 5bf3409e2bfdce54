"""What a transformer's optimizer leaves out of weight decay, whatever else a config says."""

from __future__ import annotations

from torch import nn

from ..registry import OPTIM_WRAPPER_CONSTRUCTORS
from .layer_decay import LayerDecayOptimWrapperConstructor

# parts of names of parameters that say where a token is, or are tokens themselves
POSITIONS = (
    "pos_embed",
    "cls_token",
    "reg_token",
    "relative_position_bias_table",
    "rel_pos_",
    "cpb_mlp",
    "logit_scale",
)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class EncoderOptimWrapperConstructor(LayerDecayOptimWrapperConstructor):
    """Layer-wise learning rates, and no weight decay on norms, biases, tokens and position
    parameters of the encoder.

    mmengine's ``norm_decay_mult`` and ``bias_decay_mult`` do not reach a parameter that a key of
    ``custom_keys`` names, and the longest key alone counts: a config that lowers the encoder's rate
    with ``custom_keys={'backbone': dict(lr_mult=0.1)}`` decays all of its norms. Here the key still
    sets the rate, and these parameters don't decay. The rest of the model follows the config.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        # without a rule in it mmengine asks no constructor and gives all parameters one group
        super().__init__(optim_wrapper_cfg, paramwise_cfg or dict(layer_decay_rate=1.0))

    def set_rules(self, group: dict, name: str, encoders: dict[str, nn.Module]) -> None:
        super().set_rules(group, name, encoders)
        (param,) = group["params"]
        if name.startswith(tuple(encoders)) and is_free_of_decay(name, param.ndim):
            group["weight_decay"] = 0.0


def is_free_of_decay(name: str, ndim: int) -> bool:
    """Norms, biases and scales are the parameters of one dimension."""
    return ndim <= 1 or any(part in name for part in POSITIONS)
