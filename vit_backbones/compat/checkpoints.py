"""mmengine's checkpoint files, read without running code from them.

mmengine 0.10.7 cannot resume from its own checkpoints on torch >= 2.6, where ``torch.load`` accepts
tensors and plain Python only: next to the weights lie ``HistoryBuffer`` (the log) and numpy values.
onedl-mmengine reads them, but opens any file that torch refuses a second time with
``weights_only=False``, and both open URLs so: a foreign file then runs its code. Here the few
classes join torch's safe globals and every load of a checkpoint is ``weights_only=True``.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch

from ..errors import UserError
from .repair import Repair, State


def _history_statistic(owner: type, name: str) -> Callable:
    """What ``getattr`` may fetch for a pickle: a statistic of HistoryBuffer, such as its ``mean``.

    A HistoryBuffer carries its statistics as ``getattr(HistoryBuffer, 'mean')``; the general
    getattr would let a file reach any function.
    """
    from mmengine.logging import HistoryBuffer

    if owner is HistoryBuffer and name in ("min", "max", "current", "mean"):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f"GLOBAL getattr for {name!r} whose module builtins is blocked")


def safe_globals() -> list:
    """What mmengine puts into a checkpoint besides tensors and plain Python."""
    from mmengine.logging import HistoryBuffer

    reconstruct = np.zeros(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    numeric = [np.dtype(code) for code in "?bhilqBHILQefd"]
    return [
        HistoryBuffer,
        (_history_statistic, "builtins.getattr"),
        slice,  # onedl-mmengine reads it as well
        np.ndarray,
        np.dtype,
        *{type(dtype) for dtype in numeric},
        *(
            (function, f"{module}.{name}")
            for function, name in ((reconstruct, "_reconstruct"), (scalar, "scalar"))
            for module in ("numpy.core.multiarray", "numpy._core.multiarray")  # numpy 1, 2
        ),
    ]


class _WeightsOnlyTorch(ModuleType):
    """The torch that ``mmengine.runner.checkpoint`` sees: torch, but ``load`` is always safe."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def load(file, map_location=None, **kwargs) -> Any:
        """``torch.load(weights_only=True)``.

        Raises:
            UserError: the file holds more than tensors, plain Python and what mmengine saves.
        """
        try:
            return torch.load(file, map_location, **{**kwargs, "weights_only": True})
        except pickle.UnpicklingError as error:
            raise UserError(_refusal(file, str(error))) from error


def _refusal(file, reason: str) -> str:
    name = file if isinstance(file, str) else "The checkpoint"
    found = re.search(r"GLOBAL (.+?) (was not an allowed|whose module)", reason)
    if found is None:
        return f"{name} cannot be read as a checkpoint; it may be damaged or of another kind."
    refusal = (
        f"{name} was not loaded: it holds {found[1]}, which is more than weights, and reading it "
        "could run code from the file."
    )
    if found[2] == "whose module":  # torch never allows these
        return refusal
    return (
        f"{refusal} If you know this class and trust the file, allow it before loading: "
        f"torch.serialization.add_safe_globals([{found[1]}])."
    )


def _install(repair: Repair) -> None:
    from mmengine.runner import checkpoint
    from mmengine.utils import dl_utils

    torch.serialization.add_safe_globals(safe_globals())
    checkpoint.torch = _WeightsOnlyTorch("torch")
    if hasattr(checkpoint, "get_torch_safe_globals"):  # onedl: it would allow getattr on anything
        checkpoint.get_torch_safe_globals = list
    load_url = checkpoint.load_url

    def load_url_safely(*args, **kwargs) -> Any:
        return load_url(*args, **{**kwargs, "weights_only": True})

    for module in (checkpoint, dl_utils, dl_utils.hub):
        module.load_url = load_url_safely
    repair.set(State.APPLIED, "mmengine loads every checkpoint with weights_only=True")


REPAIR = Repair(
    name="checkpoints under weights_only",
    why="mmengine 0.10.7 cannot resume on torch >= 2.6, onedl-mmengine may run code from a file",
    install=_install,
)
