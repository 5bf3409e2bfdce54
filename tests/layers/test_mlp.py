"""Feed-forward networks and LayerScale against their formulas in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.parity import randomize
from vit_backbones.layers.mlp import Mlp, QuickGELU, SwiGLU, swiglu_hidden_dim
from vit_backbones.layers.scale import LayerScale

x = torch.linspace(-3, 3, 2 * 5 * 8).double().reshape(2, 5, 8)


@pytest.mark.parametrize(
    ("layer", "formula"),
    [
        (nn.GELU, lambda h: h * (1 + torch.erf(h / 2**0.5)) / 2),
        (QuickGELU, lambda h: h / (1 + torch.exp(-1.702 * h))),
    ],
)
def test_mlp(layer: type, formula) -> None:
    mlp = randomize(Mlp(8, 12, layer, out_dim=6)).double()
    hidden = formula(x @ mlp.fc1.weight.T + mlp.fc1.bias)
    torch.testing.assert_close(mlp(x), hidden @ mlp.fc2.weight.T + mlp.fc2.bias)


def test_swiglu_gates_with_the_first_half() -> None:
    mlp = randomize(SwiGLU(8, 12)).double()
    gate_weight, value_weight = mlp.fc1.weight[:12], mlp.fc1.weight[12:]
    gate = x @ gate_weight.T + mlp.fc1.bias[:12]
    value = x @ value_weight.T + mlp.fc1.bias[12:]
    hidden = gate / (1 + torch.exp(-gate)) * value
    torch.testing.assert_close(mlp(x), hidden @ mlp.fc2.weight.T + mlp.fc2.bias)


@pytest.mark.parametrize(
    ("dim", "ratio", "hidden"),
    [
        (1536, 4, 4096),  # DINOv2 giant
        (384, 6, 1536),  # DINOv3 S+
        (1280, 6, 5120),  # DINOv3 H+
        (100, 4, 272),  # 266 rounded up
    ],
)
def test_swiglu_width(dim: int, ratio: float, hidden: int) -> None:
    assert swiglu_hidden_dim(dim, ratio) == hidden


@pytest.mark.parametrize("mlp", [Mlp(8, 12, drop=0.5), SwiGLU(8, 12, drop=0.5)])
def test_dropout_only_in_training(mlp: nn.Module) -> None:
    torch.manual_seed(0)
    mlp.train()
    inputs = x.float()
    assert not torch.equal(mlp(inputs), mlp(inputs))
    mlp.eval()
    assert torch.equal(mlp(inputs), mlp(inputs))


def test_layer_scale_multiplies_each_channel() -> None:
    scale = LayerScale(8, 1e-5)
    assert torch.equal(scale.gamma, torch.full((8,), 1e-5))
    randomize(scale).double()
    expected = torch.stack([x[..., i] * scale.gamma[i] for i in range(8)], dim=-1)
    assert torch.equal(scale(x), expected)


@pytest.mark.parametrize("part", ["fc1", "act", "fc2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_hooks_see_each_part(part: str, dtype: torch.dtype) -> None:
    """In parts, and where the CPU's own paths aren't taken."""
    mlp, seen = Mlp(8, 12).to(dtype), []
    getattr(mlp, part).register_forward_hook(lambda *_: seen.append(part))
    with torch.no_grad():
        mlp(x.to(dtype))
    assert seen == [part]
