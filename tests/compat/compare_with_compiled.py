"""Record what compiled mmcv makes of the cases in op_cases.py, and compare our stand-in with it.

    MMCV_WITH_OPS=1 pip install ...      # the command that `python -m vit_backbones.compat` prints
    python -m tests.compat.compare_with_compiled

Run it from the repository's root, where mmcv is compiled. It writes data/compiled_mmcv.npz, which
test_against_compiled.py reads everywhere else, and prints the largest difference for each op.

mmcv has no CPU version of sigmoid_focal_loss and ms_deform_attn. Their CUDA kernels, from the
sources that mmcv's package holds, are compiled here for the host (cuda_kernels_on_the_host.cpp,
with g++) and called in place of the compiled ops.
"""

from __future__ import annotations

import ctypes
import platform
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import vit_backbones  # noqa: F401
from tests.compat import recorded
from tests.compat.op_cases import all_cases, compute, ops_of
from vit_backbones.compat import mmcv_ext


class Kernels:
    """The compiled module, with mmcv's CUDA kernels on the host where it has no CPU version."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        sources = Path(compiled.__file__).parent / "ops" / "csrc" / "common"
        library = Path(tempfile.mkdtemp()) / "kernels.so"
        own = Path(__file__).with_name("cuda_kernels_on_the_host.cpp")
        flags = ["-O1", "-std=c++17", "-shared", "-fPIC", f"-I{sources}", f"-I{sources / 'cuda'}"]
        subprocess.run(["g++", *flags, str(own), "-o", str(library)], check=True)
        self.kernels = ctypes.CDLL(str(library))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.compiled, name)

    def sigmoid_focal_loss_forward(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor,
        output: Tensor,
        gamma: float,
        alpha: float,
    ) -> None:
        self._focal_loss("forward", input, target, weight, output, gamma, alpha)

    def sigmoid_focal_loss_backward(
        self,
        input: Tensor,
        target: Tensor,
        weight: Tensor,
        grad: Tensor,
        gamma: float,
        alpha: float,
    ) -> None:
        self._focal_loss("backward", input, target, weight, grad, gamma, alpha)

    def _focal_loss(
        self,
        which: str,
        input: Tensor,
        target: Tensor,
        weight: Tensor,
        out: Tensor,
        gamma: float,
        alpha: float,
    ) -> None:
        kernel = getattr(self.kernels, f"focal_loss_{which}")
        tensors = (input, target, weight if weight.numel() else None, out)
        numbers = (ctypes.c_float(gamma), ctypes.c_float(alpha))
        kernel(input.numel(), input.shape[1], *map(_pointer, tensors), *numbers)

    def ms_deform_attn_forward(
        self,
        value: Tensor,
        shapes: Tensor,
        starts: Tensor,
        locations: Tensor,
        weights: Tensor,
        im2col_step: int,
    ) -> Tensor:
        batch, _, heads, channels = value.shape
        output = value.new_zeros(batch, locations.shape[1], heads * channels)
        tensors = (value, shapes, starts, locations, weights, output)
        self.kernels.attention_forward(_sizes(value, locations), *map(_pointer, tensors))
        return output

    def ms_deform_attn_backward(
        self,
        value: Tensor,
        shapes: Tensor,
        starts: Tensor,
        locations: Tensor,
        weights: Tensor,
        grad_output: Tensor,
        *gradients: Tensor,
        im2col_step: int,
    ) -> None:
        tensors = (grad_output, value, shapes, starts, locations, weights, *gradients)
        self.kernels.attention_backward(_sizes(value, locations), *map(_pointer, tensors))


def _sizes(value: Tensor, locations: Tensor) -> ctypes.Array:
    _, queries, _, levels, points, _ = locations.shape
    return (ctypes.c_int64 * 7)(*value.shape, levels, queries, points)


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    if tensor is None:
        return ctypes.c_void_p(None)
    assert tensor.is_contiguous()
    assert tensor.dtype in (torch.float32, torch.int64)
    return ctypes.c_void_p(tensor.data_ptr())


def main() -> None:
    import mmcv
    from mmcv import _ext as compiled

    if not str(compiled.__file__).endswith(".so"):
        raise SystemExit(f"{compiled.__file__} is not a compiled module")
    cases, kernels = list(all_cases()), Kernels(compiled)
    with ops_of(kernels):
        outputs = [compute(case) for case in cases]
    made_with = dict(
        mmcv=mmcv.__version__,
        torch=torch.__version__,
        compiler=compiled.get_compiler_version(),
        machine=platform.machine(),
    )
    recorded.write(made_with, list(zip(cases, outputs)))
    print(
        f"{recorded.FILE}: {len(cases)} cases, {recorded.FILE.stat().st_size:,} bytes; {made_with}"
    )
    largest: dict[str, float] = {}
    with ops_of(mmcv_ext):
        for case, theirs in zip(cases, outputs):
            ours = compute(case)
            for name, array in theirs.items():
                same = ours[name].shape == array.shape
                distance = np.abs(ours[name] - array).max(initial=0.0) if same else np.inf
                largest[case.op] = max(largest.get(case.op, 0.0), float(distance))
                if distance > 1e-4:
                    print(f"{case.name} {name}: {distance:.3g}")
    for op, distance in largest.items():
        print(f"{op:24} largest difference {distance:.1e}")


if __name__ == "__main__":
    main()
