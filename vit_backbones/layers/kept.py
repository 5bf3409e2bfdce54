"""Tensors that are computed once for the same arguments and kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode


def kept(size: int) -> Callable[[Callable], Callable]:
    """Decorator of a function that makes tensors of hashable arguments: it keeps the ``size`` last
    results."""

    def decorate(build: Callable) -> Callable:
        keep = lru_cache(maxsize=size)(build)

        @wraps(build)
        def get(*arguments):
            # a traced, fake or functional tensor must not outlive its trace
            if (
                torch.compiler.is_compiling()
                or _get_current_dispatch_mode() is not None
                or torch._C._functorch.maybe_current_level() is not None
            ):
                return build(*arguments)
            with torch.inference_mode(False):  # a kept tensor may be wanted by autograd later
                return keep(*arguments)

        return get

    return decorate
