"""The stand-in that is loaded under the name ``mmcv._ext`` (see mmcv_ops.py).

It holds the ops of the ops folder. Any other name is a function that says, when it is called, how
to get the compiled op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from vit_backbones.compat.ops.deform_attn import (  # noqa: F401
    ms_deform_attn_backward,
    ms_deform_attn_forward,
)
from vit_backbones.compat.ops.deform_conv import (  # noqa: F401
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from vit_backbones.compat.ops.focal_loss import (  # noqa: F401
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
)
from vit_backbones.compat.ops.nms import nms, nms_match, softnms  # noqa: F401
from vit_backbones.compat.ops.roi_align import (  # noqa: F401
    roi_align_backward,
    roi_align_forward,
)


def get_compiler_version() -> str:
    return "none: vit_backbones stands in for mmcv's compiled ops"


def get_compiling_cuda_version() -> str:
    return "none: vit_backbones stands in for mmcv's compiled ops"


def __getattr__(name: str) -> Callable[..., NoReturn]:
    # mmcv's ext_loader asks for every op by name while mmcv.ops is imported
    if name.startswith("__"):
        raise AttributeError(name)

    def op(*args, **kwargs) -> NoReturn:
        from vit_backbones.compat.inventory import how_to_compile_mmcv

        raise NotImplementedError(
            f"{name} is a compiled op of mmcv; the mmcv that is installed came without these ops, "
            "and vit_backbones has no replacement for this one. "
            "To compile mmcv (needs a C++ compiler, and nvcc for CUDA):\n  "
            f"{how_to_compile_mmcv()}"
        )

    op.__name__ = name
    return op
