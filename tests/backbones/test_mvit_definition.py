"""MViT against its definition written out in float64 (mvit_reference.py), over random settings and
sizes."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.backbones.mvit_reference import stage_tokens
from vit_backbones import MViT


def assert_follows_definition(height: int, width: int, **arch) -> None:
    torch.manual_seed(0)
    stages = range(len(arch["depths"]))
    model = MViT(arch, out_indices=tuple(stages), out_type="raw").double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    params = dict(model.named_parameters())
    image = torch.randn(3, height, width, dtype=torch.float64)
    outputs = model(image[None])
    for stage, tokens in zip(stages, stage_tokens(params, model.arch, image), strict=True):
        norm = getattr(model, "norm" if stage == stages[-1] else f"norm{stage}")
        assert outputs[stage].shape[1:] == tokens.shape
        torch.testing.assert_close(outputs[stage][0], norm(tokens), rtol=1e-7, atol=1e-7)


sizes = st.integers(9, 70)


@settings(max_examples=12, deadline=None)
@given(
    height=sizes,
    width=sizes,
    depths=st.lists(st.integers(1, 2), min_size=1, max_size=3),
    num_heads=st.integers(1, 2),
    pool_mode=st.sampled_from(["conv", "max", "avg"]),
    pool_kernel=st.sampled_from([None, 1, 3, 5]),
    pool_every_q=st.booleans(),
    kv_stride=st.sampled_from([1, 2, 4]),
    patch=st.sampled_from([(7, 4), (3, 2), (1, 1)]),
    cls_token=st.booleans(),
    rel_pos=st.booleans(),
    residual_pooling=st.booleans(),
    dim_mul_in_attention=st.booleans(),
    qkv_bias=st.booleans(),
)
def test_global_attention(height, width, patch, **arch):
    if patch[1] == 1:
        height, width = min(height, 20), min(width, 20)
    arch.update(embed_dims=4, img_size=32, patch_kernel=patch[0], patch_stride=patch[1])
    assert_follows_definition(height, width, **arch)


@settings(max_examples=12, deadline=None)
@given(
    height=sizes,
    width=sizes,
    depths=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    num_heads=st.integers(1, 2),
    kv_stride=st.sampled_from([1, 2, 4]),
    window_size=st.sampled_from([4, 8, 12]),
    rel_pos=st.booleans(),
    residual_pooling=st.booleans(),
    dim_mul_in_attention=st.booleans(),
)
def test_hybrid_windows(height, width, **arch):
    arch.update(embed_dims=4, img_size=32, patch_kernel=3, patch_stride=2)
    assert_follows_definition(height, width, **arch)


def test_absolute_positions():
    for form in ("joint", "separate"):
        arch = dict(embed_dims=4, depths=(1, 1), cls_token=True, rel_pos=False, pos_embed=form)
        assert_follows_definition(24, 36, img_size=(24, 36), **arch)
