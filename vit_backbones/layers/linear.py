"""nn.Linear on the faster of PyTorch's two CPU matrix libraries."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

_AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def made_by_intel(info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor is Intel's, as far as the system tells."""
    return info.exists() and "GenuineIntel" in info.read_text()


_TELLS_EXPORT = hasattr(torch.compiler, "is_exporting")  # torch 2.7

# MKL, which torch takes, is Intel's, and has AVX-512 for Intel's processors alone. Where there is
# AVX2 at most it is the faster one, whoever made them, and oneDNN's GELU slower than torch's.
FUSES_GELU = _AVAILABLE and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
PREFERS_ONEDNN = FUSES_GELU and not made_by_intel()


class Linear(nn.Linear):
    """nn.Linear, whose float32 products run in oneDNN on a CPU with AVX-512 that is not Intel's,
    where F.linear takes MKL.

    oneDNN packs the weight while it computes, and adds the bias to a result in the cache, where MKL
    starts from a copy of it. Elsewhere (other devices and precisions, autocast, exporting, tracing)
    this is F.linear.
    """

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x weight^T + bias: (..., in), (out, in), (out,) -> (..., out)."""
    if not (PREFERS_ONEDNN and _can_take_onednn(x, weight)):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        return _OneDNNLinear.apply(x, weight, bias)
    return _onednn(x, weight, bias)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """F.gelu(linear(x, weight, bias)), in one step where no gradient is wanted: oneDNN, on any CPU
    with AVX-512, applies it to a result in the cache."""
    if torch.is_grad_enabled() or not (FUSES_GELU and _can_take_onednn(x, weight)):
        return F.gelu(linear(x, weight, bias))
    return _onednn(x, weight, bias, "gelu")


def is_plain(layer: nn.Module) -> bool:
    """Whether a linear layer may be computed from its parameters: no other module, a low-rank
    adapter for instance, is in its place, and no hook watches or changes it."""
    return type(layer) is Linear and not has_hooks(layer)


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody watches or changes what the module does: by hooks, or by a ``forward`` of
    its own in place of its class's, as low-rank adapters and offloading put in."""
    return bool(
        "forward" in vars(module)
        or torch.nn.modules.module._has_any_global_hook()
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def runs_eagerly_on_cpu(*tensors: Tensor) -> bool:
    """Whether what is computed from these runs at once, on the CPU and in one single or double
    precision, so that the work may be arranged for the CPU's cache."""
    dtype = tensors[0].dtype
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch.is_autocast_enabled("cpu")
        and not _is_transformed()
        and dtype in (torch.float32, torch.float64)
        and all(t.device.type == "cpu" and t.dtype == dtype and t.numel() > 0 for t in tensors)
    )


@torch.compiler.assume_constant_result  # of a graph, which the compiler keeps for that case
def _is_transformed() -> bool:
    """Whether this runs inside one of torch.func's transforms, or for a forward derivative."""
    return bool(torch._C._functorch.maybe_current_level()) or forward_ad._current_level >= 0


def _can_take_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        _AVAILABLE
        and x.dtype == torch.float32
        and (runs_eagerly_on_cpu(x, weight) or _is_compiled_for_this_cpu(x, weight))
    )


def _is_compiled_for_this_cpu(x: Tensor, weight: Tensor) -> bool:
    """An exported program, in contrast, may run anywhere."""
    return (
        PREFERS_ONEDNN
        and torch.compiler.is_compiling()
        and x.device.type == weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and _TELLS_EXPORT
        and not torch.compiler.is_exporting()
        and not torch.is_autocast_enabled("cpu")
        and not _is_transformed()
    )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    compiling = torch.compiler.is_compiling()
    product = torch.ops.vit_backbones.linear if compiling else _product
    return product(x, weight, bias, activation)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], "none")


# The same as an operator that inductor calls as it is: torch's own, under torch.compile, is for
# constant weights alone.
_LIBRARY = torch.library.Library("vit_backbones", "FRAGMENT")
_LIBRARY.define("linear(Tensor x, Tensor weight, Tensor? bias, str activation) -> Tensor")
_LIBRARY.impl("linear", _product, "CPU")


@torch.library.register_fake("vit_backbones::linear", lib=_LIBRARY)
def _like_product(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


class _OneDNNLinear(torch.autograd.Function):
    """The gradient of the weight stays with MKL, which is faster at tall, thin products."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        rows = gradient.reshape(-1, weight.shape[0])
        return (
            linear(gradient, weight.t(), None) if wants_x else None,
            rows.t() @ x.reshape(-1, x.shape[-1]) if wants_weight else None,
            rows.sum(0) if wants_bias else None,
        )


if _AVAILABLE:

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _flops(x_shape, weight_shape, *_, out_shape=None, **__) -> int:
        """For torch's FlopCounterMode: 2 * rows * in * out."""
        return 2 * torch.Size(x_shape).numel() * weight_shape[0]
