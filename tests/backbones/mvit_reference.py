"""MViT written out: one image, one head, one window at a time, every bias and softmax explicit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vit_backbones.backbones.mvit_arch import BlockPlan, MViTArch


def stage_tokens(params: dict[str, Tensor], arch: MViTArch, image: Tensor) -> list[Tensor]:
    """The tokens (h * w, C) after each stage of the network, before norms, for an image (3, H,
    W)."""
    weight, bias = params["patch_embed.proj.weight"], params["patch_embed.proj.bias"]
    patches = F.conv2d(image[None], weight, bias, arch.patch_stride, arch.patch_kernel // 2)[0]
    grid = tuple(patches.shape[1:])
    x = patches.flatten(1).T
    if arch.pos_embed == "joint":
        x = x + params["pos_embed"][0, int(arch.cls_token) :]
    if arch.pos_embed == "separate":
        x = x + params["pos_embed_spatial"][0] + params["pos_embed_temporal"][0]
    if arch.cls_token:
        cls = params["cls_token"][0]
        if arch.pos_embed == "joint":
            cls = cls + params["pos_embed"][0, :1]
        if arch.pos_embed == "separate":
            cls = cls + params["pos_embed_class"][0]
        x = torch.cat([cls, x])

    stages = []
    for i, plan in enumerate(arch.plan()):
        own = {
            k[len(f"blocks.{i}.") :]: v for k, v in params.items() if k.startswith(f"blocks.{i}.")
        }
        x, grid = _block(own, arch, plan, x, grid)
        if i in arch.stage_ends:
            stages.append(x)
    return stages


def _block(p: dict[str, Tensor], arch: MViTArch, plan: BlockPlan, x: Tensor, grid):
    prefix = int(arch.cls_token)
    y = _norm(x, p, "norm1", arch.norm_eps)
    attended, new_grid = _attention(p, arch, plan, y, grid)
    skip = _linear(y, p, "proj") if plan.dim != plan.attn_dim else x
    if plan.stride_q > 1:
        patches = skip[prefix:].T.unflatten(1, grid)[None]
        patches = F.max_pool2d(patches, plan.stride_q + 1, plan.stride_q, (plan.stride_q + 1) // 2)
        skip = torch.cat([skip[:prefix], patches[0].flatten(1).T])
    x = skip + attended
    y = _norm(x, p, "norm2", arch.norm_eps)
    hidden = F.gelu(_linear(y, p, "mlp.fc1"))
    skip = _linear(y, p, "proj") if plan.attn_dim != plan.out_dim else x
    return skip + _linear(hidden, p, "mlp.fc2"), new_grid


def _attention(p: dict[str, Tensor], arch: MViTArch, plan: BlockPlan, y: Tensor, grid):
    qkv = F.linear(y, p["attn.qkv.weight"], p.get("attn.qkv.bias"))
    head_dim = plan.attn_dim // plan.num_heads
    heads = []
    for head in range(plan.num_heads):
        q, k, v = (
            qkv[:, part * plan.attn_dim + head * head_dim :][:, :head_dim] for part in range(3)
        )
        q, q_grid = _pool(p, arch, plan.pool_q, "q", q, grid)
        k, k_grid = _pool(p, arch, plan.pool_kv, "k", k, grid)
        v, _ = _pool(p, arch, plan.pool_kv, "v", v, grid)
        if plan.window is None:
            out = _softmax_attention(p, arch, q, k, v, q_grid, k_grid)
        else:
            kv_stride = plan.pool_kv.stride if plan.pool_kv else 1
            windows = plan.window // plan.stride_q, plan.window // kv_stride
            out = _windows(p, arch, q, k, v, q_grid, k_grid, *windows)
        heads.append(out + q if arch.residual_pooling else out)
    return _linear(torch.cat(heads, dim=1), p, "attn.proj"), q_grid


def _windows(p, arch, q, k, v, q_grid, k_grid, q_window: int, k_window: int) -> Tensor:
    (qh, qw), (kh, kw) = q_grid, k_grid
    rows, columns = -(-qh // q_window), -(-qw // q_window)

    def padded(x, h, w, window):
        full = x.new_zeros(rows * window, columns * window, x.shape[1])
        full[:h, :w] = x.reshape(h, w, -1)
        return full

    q, k, v = padded(q, qh, qw, q_window), padded(k, kh, kw, k_window), padded(v, kh, kw, k_window)
    out = torch.zeros_like(q)
    for row in range(rows):
        for column in range(columns):
            of_q, of_k = (
                (slice(row * n, (row + 1) * n), slice(column * n, (column + 1) * n))
                for n in (q_window, k_window)
            )
            sizes = (q_window, q_window), (k_window, k_window)
            tokens = q[of_q].flatten(0, 1), k[of_k].flatten(0, 1), v[of_k].flatten(0, 1)
            attended = _softmax_attention(p, arch, *tokens, *sizes)
            out[of_q] = attended.reshape(q_window, q_window, -1)
    return out[:qh, :qw].flatten(0, 1)


def _softmax_attention(p, arch, q, k, v, q_grid, k_grid) -> Tensor:
    logits = q @ k.T * q.shape[1] ** -0.5
    if arch.rel_pos:
        prefix = int(arch.cls_token)
        by_row = _table(p["attn.rel_pos_h"], q_grid[0], k_grid[0])
        by_column = _table(p["attn.rel_pos_w"], q_grid[1], k_grid[1])
        for i in range(q_grid[0] * q_grid[1]):
            query = q[prefix + i]
            rows = by_row[i // q_grid[1]] @ query
            columns = by_column[i % q_grid[1]] @ query
            logits[prefix + i, prefix:] += (rows[:, None] + columns[None]).flatten()
    return logits.softmax(dim=-1) @ v


def _table(table: Tensor, q_size: int, k_size: int) -> Tensor:
    length = 2 * max(q_size, k_size) - 1
    table = F.interpolate(table.T[None], size=length, mode="linear")[0].T
    q_step, k_step = max(k_size / q_size, 1.0), max(q_size / k_size, 1.0)
    # single precision, as in the authors' code: it decides which way a distance is cut
    distance = (
        torch.arange(q_size)[:, None] * q_step
        - torch.arange(k_size)[None] * k_step
        + (k_size - 1) * k_step
    )
    return table[distance.long()]


def _pool(p, arch, pooling, name: str, x: Tensor, grid):
    if pooling is None:
        return x, grid
    prefix = int(arch.cls_token)
    patches = x[prefix:].T.unflatten(1, grid)[None]
    kernel, stride, padding = pooling.kernel, pooling.stride, pooling.kernel // 2
    if pooling.mode == "conv":
        weight = p[f"attn.pool_{name}.weight"]
        patches = F.conv2d(patches, weight, None, stride, padding, groups=weight.shape[0])
    elif pooling.mode == "max":
        patches = F.max_pool2d(patches, kernel, stride, padding)
    else:
        patches = F.avg_pool2d(patches, kernel, stride, padding)
    grid = tuple(patches.shape[2:])
    x = torch.cat([x[:prefix], patches[0].flatten(1).T])
    if pooling.mode == "conv":
        x = _norm(x, p, f"attn.norm_{name}", arch.norm_eps)
    return x, grid


def _norm(x: Tensor, p: dict[str, Tensor], name: str, eps: float) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, unbiased=False, keepdim=True)
    return (x - mean) / (variance + eps).sqrt() * p[f"{name}.weight"] + p[f"{name}.bias"]


def _linear(x: Tensor, p: dict[str, Tensor], name: str) -> Tensor:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]
