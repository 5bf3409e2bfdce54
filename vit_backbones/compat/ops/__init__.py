"""mmcv's ops in PyTorch and torchvision, with the signatures of mmcv's compiled ones.

Those that mmcv/ops/*.py call: like the compiled ops, most fill a tensor that the caller has
allocated. They are made of device-independent calls. tests/compat/test_against_compiled.py holds
them against what compiled mmcv gives.
"""

from __future__ import annotations

import torch
from torch import Tensor


def widened(*tensors: Tensor) -> list[Tensor]:
    """Half precision as float32, which torchvision's kernels and grid_sample take on any device."""
    narrow = (torch.float16, torch.bfloat16)
    return [t.float() if t.dtype in narrow else t for t in tensors]
