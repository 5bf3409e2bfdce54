"""Swin against its definition written out in float64: attention among all tokens of the padded map,
with windows as a mask."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tests.parity import randomize
from vit_backbones import SwinTransformer
from vit_backbones.backbones.swin_arch import SwinArch


def reference(model: SwinTransformer, image: Tensor) -> list[Tensor]:
    """One image (C, H, W) -> the map (h, w, C) of each stage, normed."""
    arch, p = model.arch, dict(model.named_parameters())
    patch = arch.patch_size
    C, H, W = image.shape
    image = F.pad(image, (0, -W % patch, 0, -H % patch))
    h, w = image.shape[1] // patch, image.shape[2] // patch
    patches = image.reshape(C, h, patch, w, patch).permute(1, 3, 0, 2, 4).flatten(2)
    weight = p["patch_embed.proj.weight"].flatten(1)
    x = norm(patches @ weight.T + p["patch_embed.proj.bias"], p, "patch_embed.norm")
    maps = []
    for stage, depth in enumerate(arch.depths):
        for i in range(depth):
            x = block(x, p, f"layers.{stage}.blocks.{i}.", arch, stage, shifted=i % 2 == 1)
        maps.append(norm(x, p, "norm" if "norm.weight" in p else f"norm{stage}"))
        if stage + 1 < len(arch.depths):
            x = merge(x, p, f"layers.{stage}.downsample.", arch.version)
    return maps


def block(x: Tensor, p: dict, name: str, arch: SwinArch, stage: int, shifted: bool) -> Tensor:
    if arch.version == 2:
        x = x + norm(attention(x, p, name + "attn.", arch, stage, shifted), p, name + "norm1")
        return x + norm(mlp(x, p, name + "mlp."), p, name + "norm2")
    x = x + attention(norm(x, p, name + "norm1"), p, name + "attn.", arch, stage, shifted)
    return x + mlp(norm(x, p, name + "norm2"), p, name + "mlp.")


def attention(x: Tensor, p: dict, name: str, arch: SwinArch, stage: int, shifted: bool) -> Tensor:
    h, w, C = x.shape
    window, heads = arch.windows[stage], arch.heads[stage]
    shift = window // 2 if shifted else 0
    if min(h, w) <= window and not arch.pad_small_map:
        window, shift = min(h, w), 0
    x = F.pad(x, (0, 0, 0, -w % window, 0, -h % window))
    H, W = x.shape[:2]

    qkv = x.flatten(0, 1) @ p[name + "qkv.weight"].T
    if name + "qkv.bias" in p:
        qkv = qkv + p[name + "qkv.bias"]
    elif name + "q_bias" in p:
        q_bias, v_bias = p[name + "q_bias"], p[name + "v_bias"]
        qkv = qkv + torch.cat([q_bias, torch.zeros_like(q_bias), v_bias])
    q, k, v = qkv.reshape(H * W, 3, heads, -1).permute(1, 2, 0, 3)

    row, column = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    row, column = row.flatten(), column.flatten()
    shifted_row, shifted_column = (row - shift) % H, (column - shift) % W
    number = shifted_row // window * W + shifted_column // window
    down = pairs(shifted_row % window, torch.sub)
    right = pairs(shifted_column % window, torch.sub)
    same_window = pairs(number, torch.eq)
    wrapped = pairs((row < shift) * 2 + (column < shift), torch.ne)  # neighbours by the roll alone
    down, right = down.clamp(1 - window, window - 1), right.clamp(1 - window, window - 1)

    if arch.version == 2:
        q, k = (t / t.norm(dim=-1, keepdim=True).clamp(min=1e-12) for t in (q, k))
        scale = p[name + "logit_scale"].clamp(max=math.log(100)).exp()
        unit = (arch.pretrained_windows[stage] or window) - 1
        offsets = torch.stack([down, right], dim=-1).to(x) / max(unit, 1) * 8
        offsets = offsets.sign() * (offsets.abs() + 1).log2() / 3
        hidden = offsets @ p[name + "cpb_mlp.0.weight"].T + p[name + "cpb_mlp.0.bias"]
        bias = 16 * (hidden.relu() @ p[name + "cpb_mlp.2.weight"].T).sigmoid()
    else:
        scale = q.shape[-1] ** -0.5
        side = 2 * arch.windows[stage] - 1
        table = p[name + "relative_position_bias_table"].reshape(side, side, heads)
        bias = table[down + side // 2, right + side // 2]

    logits = q @ k.mT * scale + bias.permute(2, 0, 1) - 100 * wrapped
    out = logits.masked_fill(~same_window, -math.inf).softmax(dim=-1) @ v
    out = out.transpose(0, 1).flatten(1) @ p[name + "proj.weight"].T + p[name + "proj.bias"]
    return out.reshape(H, W, C)[:h, :w]


def pairs(x: Tensor, compare) -> Tensor:
    return compare(x[:, None], x[None, :])


def mlp(x: Tensor, p: dict, name: str) -> Tensor:
    hidden = F.gelu(x @ p[name + "fc1.weight"].T + p[name + "fc1.bias"])
    return hidden @ p[name + "fc2.weight"].T + p[name + "fc2.bias"]


def merge(x: Tensor, p: dict, name: str, version: int) -> Tensor:
    x = F.pad(x, (0, 0, 0, x.shape[1] % 2, 0, x.shape[0] % 2))
    x = torch.cat([x[0::2, 0::2], x[1::2, 0::2], x[0::2, 1::2], x[1::2, 1::2]], dim=-1)
    if version == 2:
        return norm(x @ p[name + "reduction.weight"].T, p, name + "norm")
    return norm(x, p, name + "norm") @ p[name + "reduction.weight"].T


def norm(x: Tensor, p: dict, name: str) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    deviation = (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * p[name + ".weight"] + p[name + ".bias"]


@settings(max_examples=15, deadline=None)
@given(
    version=st.sampled_from([1, 2]),
    height=st.integers(1, 48),
    width=st.integers(1, 48),
    depths=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    window_size=st.integers(1, 6),
    pretrained=st.integers(0, 4),
    pad_small_map=st.booleans(),
    heads=st.integers(1, 3),
    qkv_bias=st.booleans(),
    patch_size=st.sampled_from([2, 4]),
)
def test_definition(version, height, width, depths, pretrained, heads, **arch):
    model = SwinTransformer(
        version=version,
        depths=depths,
        embed_dims=4 * heads,
        num_heads=[heads * 2**i for i in range(len(depths))],
        pretrained_window_sizes=pretrained if version == 2 else 0,
        out_indices=range(len(depths)),
        **arch,
    )
    model = randomize(model.double()).eval()
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    with_gradients = model(images)
    with torch.no_grad():
        without_gradients = model(images)
        for b, image in enumerate(images):
            for i, expected in enumerate(reference(model, image)):
                expected = expected.permute(2, 0, 1)
                torch.testing.assert_close(with_gradients[i][b], expected)
                torch.testing.assert_close(without_gradients[i][b], expected)
