"""mmengine's FSDPStrategy under torch >= 2.3: optimizer states in, in torch's order of arguments.

``FSDP.optim_state_dict_to_load`` took (state, model, optimizer) when mmengine 0.10 was written and
takes (model, optimizer, state) now, so every resume ended with an AttributeError.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.optim import Optimizer

from .repair import Repair, State


class _AnyOrder(FullyShardedDataParallel):
    """What ``mmengine._strategy.fsdp`` sees as FSDP; only its static methods are used there."""

    @staticmethod
    def optim_state_dict_to_load(*args: Any, **kwargs: Any) -> dict[str, Any]:
        named: dict[str, Any] = {}
        for value in args:
            if isinstance(value, nn.Module):
                named["model"] = value
            elif isinstance(value, Optimizer):
                named["optim"] = value
            else:
                named["optim_state_dict"] = value
        return FullyShardedDataParallel.optim_state_dict_to_load(**named, **kwargs)


def _install(repair: Repair) -> None:
    from mmengine._strategy import fsdp

    fsdp.FSDP = _AnyOrder
    repair.set(State.APPLIED, "FSDPStrategy loads optimizer states")


REPAIR = Repair(
    name="optimizer states of FSDP",
    why="mmengine hands FSDP the arguments in an order that torch has changed",
    install=_install,
)
