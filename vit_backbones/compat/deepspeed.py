"""mmengine's DeepSpeedStrategy beside deepspeed 0.19, which has no 1-bit optimizers any more.

mmengine registers deepspeed's optimizers before it trains and imports them all, these too: every
run ended with ``No module named 'deepspeed.runtime.fp16.onebit'``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from .repair import Repair, State

ONE_BIT = "deepspeed.runtime.fp16.onebit"
OPTIMIZERS = {
    "deepspeed.ops.adam": ("DeepSpeedCPUAdam", "FusedAdam"),
    "deepspeed.ops.lamb": ("FusedLamb",),
}


def _register() -> list[str]:
    """In place of mmengine's ``register_deepspeed_optimizers``; what there is, under its names."""
    from mmengine.registry import OPTIMIZERS as REGISTRY

    found = []
    for module, names in OPTIMIZERS.items():
        for name in names:
            REGISTRY.register_module(name, force=True, module=getattr(import_module(module), name))
            found.append(name)
    return found


def _install(repair: Repair) -> None:
    if find_spec("deepspeed") is None:
        repair.set(State.NOT_NEEDED, "deepspeed is not installed")
        return
    try:
        missing = find_spec(ONE_BIT) is None
    except ImportError as error:  # a broken deepspeed is for mmengine to report
        repair.set(State.NOT_NEEDED, f"deepspeed cannot be imported: {error}")
        return
    if not missing:
        repair.set(State.NOT_NEEDED, "this deepspeed has all that mmengine registers")
        return
    from mmengine._strategy import deepspeed

    deepspeed.register_deepspeed_optimizers = _register
    repair.set(State.APPLIED, "without deepspeed's 1-bit optimizers, which are gone")


REPAIR = Repair(
    name="DeepSpeedStrategy beside deepspeed 0.19",
    why="mmengine imports optimizers that deepspeed no longer has",
    install=_install,
)
