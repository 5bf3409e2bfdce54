"""Bad input to the plain ViT: each mistake gets one message that says what to do."""

from __future__ import annotations

import pytest
import torch

from vit_backbones import UserError, VisionTransformer, build_backbone
from vit_backbones.registry import MODELS

from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS  # isort: skip  # repaired by ours

TINY = dict(embed_dims=16, depth=2, num_heads=2, patch_size=4, img_size=16)
WINDOW = dict(type="window", window_size=2)

MISTAKES = [
    (dict(embed_dim=8), "no setting 'embed_dim', did you mean 'embed_dims'? Its settings: embed_"),
    (dict(out_indice=1), "no setting 'out_indice', did you mean 'out_indices'?"),
    (dict(out_indices=2), "out_indices 2: 2 is out of range; the encoder has 2 blocks, 0 to 1"),
    (dict(out_indices=(0, -3)), "out_indices (0, -3): -3 is out of range"),
    (dict(out_indices=(0, -2)), "names a block twice"),
    (dict(out_indices=()), "out_indices is empty; name at least one of the 2 blocks"),
    (dict(out_indices="1"), "out_indices '1': '1' is out of range"),
    (dict(out_indices=None), "out_indices None: None is out of range"),
    (dict(num_heads=3), "embed_dims=16 does not divide into num_heads=3; choose num_heads so that"),
    (dict(num_heads=0), "does not divide into num_heads=0"),
    (dict(embed_dims=-16), "embed_dims must be a positive integer, not -16"),
    (dict(depth=1.5), "depth must be a positive integer, not 1.5"),
    (dict(num_registers=-1), "num_registers must be 0 or more, not -1"),
    (dict(mlp_ratio=0), "mlp_ratio must be positive and leave the MLP some width, not 0"),
    (dict(norm_eps="tiny"), "norm_eps must be a positive number, not 'tiny'"),
    (dict(layer_scale_init="small"), "layer_scale_init must be a number or None, not 'small'"),
    (dict(rope_rescale=0.5), "rope_rescale must be 1 or more, or None, not 0.5"),
    *[
        (
            dict(img_size=size),
            f"img_size must be a positive integer or two (height, width), not {t}",
        )
        for size, t in [(0, "0"), (-4, "-4"), ((1, 2, 3), "(1, 2, 3)"), (16.0, "16.0"), (True, "T")]
    ],
    (dict(patch_size=(4, 0)), "patch_size must be a positive integer or two"),
    *[
        ({name: rate}, f"{name} must be at least 0 and less than 1, not {rate!r}")
        for name in ("drop_rate", "attn_drop_rate", "drop_path_rate", "patch_drop_rate")
        for rate in (-0.1, 1, "half")
    ],
    (
        dict(out_type="map"),
        "out_type must be one of cls_token, featmap, avg_featmap, raw, not 'map'",
    ),
    (dict(out_type="cls_token", cls_token=False), "needs an architecture with cls_token=True"),
    (dict(out_type="featmap", patch_drop_rate=0.5), "needs every patch: set patch_drop_rate=0"),
    (dict(pool_norm=True), "pool_norm=True is for out_type='avg_featmap'"),
    (dict(mlp="relu"), "mlp must be one of gelu, gelu_tanh, quick_gelu, swiglu, not 'relu'"),
    (dict(position="sincos"), "position 'sincos' is unknown, did you mean 'sincos2d'?"),
    (dict(position=None), "position None is unknown, did you mean 'none'?"),
    (dict(position=("learned", "sincos2d")), "several absolute kinds, ['learned', 'sincos2d']"),
    (dict(position="rope2d", embed_dims=12), "'rope2d' needs a width that divides by 4, not 6"),
    (
        dict(position="sincos2d", embed_dims=18),
        "'sincos2d' needs a width that divides by 4, not 18",
    ),
    (dict(pos_interpolation=dict(alias=1)), "no field 'alias', did you mean 'antialias'?"),
    (
        dict(pos_interpolation=dict(mode="lanczos")),
        "mode must be one of bicubic, bilinear, nearest",
    ),
    (dict(pos_interpolation="bicubic"), "pos_interpolation must be a dict, not 'bicubic'"),
    (dict(frozen_stages=3), "frozen_stages must be -1 (nothing frozen) to 2 (blocks), not 3"),
    (dict(frozen_stages=-2), "frozen_stages must be -1 (nothing frozen) to 2 (blocks), not -2"),
    (dict(attention="windows"), "attention 'windows' is unknown, did you mean 'window'?"),
    (dict(attention=()), "attention is an empty sequence"),
    (dict(attention=("window", 3)), "attention 3 is unknown"),
    (dict(attention=dict(type="window", window_size=0)), "window_size must be a positive integer"),
    (dict(attention=dict(type="window", window_size=-7)), "positive integer, not -7"),
    (dict(attention=dict(type="window", window_size=(2, 2))), "positive integer, not (2, 2)"),
    (dict(attention=dict(type="window", size=2)), "no option 'size', did you mean 'window_size'?"),
    (dict(attention=WINDOW, patch_drop_rate=0.5), "patch_drop_rate leaves no grid, which windowed"),
    (dict(position="decomposed", patch_drop_rate=0.5), "patch_drop_rate leaves no grid"),
]


@pytest.mark.parametrize(("settings", "message"), MISTAKES, ids=lambda v: str(v)[:40])
def test_settings_that_can_not_work(settings: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        VisionTransformer(TINY, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("vit_b17", "there is no preset 'vit_b17', did you mean 'vit_b16'?"),
        ("ViT-B/16", "did you mean 'vit_b16'?"),
        ("qqqq", "there is no preset 'qqqq'. vit_backbones.list_backbones() names all"),
        ("swin_t", "is a SwinTransformer, not a VisionTransformer; use type='vit_backbones.Swin"),
        (["vit_b16"], "arch must be a preset's name or a dict of settings, not ['vit_b16']"),
        (None, "arch must be a preset's name or a dict of settings, not None"),
        (dict(TINY, width=8), "VisionTransformer has no setting 'width'"),
        (dict(TINY, out_indices=0), "'out_indices' is no part of arch: give it beside arch"),
    ],
)
def test_arch_that_is_none(arch: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        VisionTransformer(arch)
    assert message in str(caught.value)


def test_unknown_name_to_build() -> None:
    with pytest.raises(UserError, match=r"'dinov2_x14', did you mean 'dinov2_.14'"):
        build_backbone("dinov2_x14")


@pytest.mark.parametrize("registry", [MODELS, MMPRETRAIN_MODELS], ids=["ours", "mmpretrain's"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(arch="vit_b17"), "there is no preset 'vit_b17', did you mean 'vit_b16'?"),
        (dict(arch=TINY, embed_dim=8), "no setting 'embed_dim', did you mean 'embed_dims'?"),
        (dict(arch=TINY, out_indices=9), "out_indices 9: 9 is out of range"),
    ],
)
def test_messages_survive_the_registry(registry, settings: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        registry.build(dict(type="vit_backbones.VisionTransformer", **settings))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "shape", [(2, 1, 16, 16), (3, 16, 16), (2, 3, 16), (2, 16, 16, 3)], ids=str
)
def test_images_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError) as caught:
        VisionTransformer(TINY)(torch.randn(shape))
    assert f"takes images of shape (batch, 3, height, width), but got {shape}" in str(caught.value)
    assert "set in_channels= for other channel counts" in str(caught.value)
