"""The position-wise feed-forward networks of a transformer block."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .chunks import computes_in_parts
from .gelu_mlp import Weights, gelu_mlp
from .linear import Linear, has_hooks, is_plain, linear_gelu


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), OpenAI CLIP's approximation of GELU (Hendrycks & Gimpel 2016, section
    2)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Mlp(nn.Module):
    """fc2(act(fc1(x))) on the last dimension.

    Args:
        dim: Width of the input.
        hidden_dim: Width between the two linear layers.
        act_layer: Makes the activation: ``nn.GELU`` (exact, erf) or :class:`QuickGELU`, say.
        drop: Dropout after the activation and after the output.
        out_dim: Width of the output; None: ``dim``.
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        act_layer: Callable[[], nn.Module] = nn.GELU,
        drop: float = 0.0,
        out_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.fc1 = Linear(dim, hidden_dim)
        self.act = act_layer()
        self.fc2 = Linear(hidden_dim, out_dim or dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., out_dim)."""
        if self.is_gelu_mlp and computes_in_parts(x, self):
            return gelu_mlp(x, self.weights, 0.0)
        if self.is_gelu_mlp and is_plain(self.fc1) and not has_hooks(self.act):
            x = linear_gelu(x, self.fc1.weight, self.fc1.bias)
        else:
            x = self.act(self.fc1(x))
        return self.drop(self.fc2(self.drop(x)))

    @property
    def weights(self) -> Weights:
        return Weights(self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias)

    @property
    def is_gelu_mlp(self) -> bool:
        """Nothing but two linear layers and a GELU: no dropout, and none of them replaced (by
        parametrizations or low-rank adapters, for instance)."""
        drop = self.drop
        passes = type(drop) is nn.Dropout and not (drop.p and drop.training)
        return (
            type(self.fc1) is type(self.fc2) is Linear
            and type(self.act) is nn.GELU
            and self.act.approximate == "none"
            and (passes or type(drop) is nn.Identity)
        )


def norm_then_mlp(x: Tensor, norm: nn.Module, mlp: nn.Module) -> Tensor:
    """``mlp(norm(x))``, in one go for a LayerNorm and a :class:`Mlp` with a GELU that are as they
    were made and that no hook watches."""
    if (
        type(mlp) is Mlp
        and mlp.is_gelu_mlp
        and type(norm) is nn.LayerNorm
        and norm.bias is not None
        and computes_in_parts(x, mlp, norm)
    ):
        weights = mlp.weights._replace(norm_weight=norm.weight, norm_bias=norm.bias)
        return gelu_mlp(x, weights, norm.eps)
    return mlp(norm(x))


class SwiGLU(nn.Module):
    """fc2(silu(a) * b) with (a, b) = fc1(x) (Shazeer 2020, equation 6).

    ``fc1`` holds both projections, one above the other: DINOv2's ``w12``, DINOv3's ``w1`` and
    ``w2``.

    Args:
        dim: Width of input and output.
        hidden_dim: Width of a and of b.
        drop: Dropout before ``fc2`` and after it.
    """

    def __init__(self, dim: int, hidden_dim: int, drop: float = 0.0) -> None:
        super().__init__()
        self.fc1 = Linear(dim, 2 * hidden_dim)
        self.fc2 = Linear(hidden_dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> the same."""
        a, b = self.fc1(x).chunk(2, dim=-1)
        return self.drop(self.fc2(self.drop(F.silu(a) * b)))


def swiglu_hidden_dim(dim: int, mlp_ratio: float) -> int:
    """Hidden width that gives a SwiGLU the parameters of an MLP of ``mlp_ratio``: two thirds,
    rounded up to a multiple of 8, as in DINOv2 and DINOv3."""
    hidden = int(int(dim * mlp_ratio) * 2 / 3)
    return (hidden + 7) // 8 * 8
