"""Positions of the plain ViT: each family's own way of resizing them, and what loading does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch
from mmengine.runner import load_checkpoint
from torch import Tensor
from torch.nn import functional as F

from tests.parity import random_images, randomize, relative_error
from vit_backbones import VisionTransformer, build_backbone, list_backbones
from vit_backbones.backbones.presets import get_preset

PATCH, SIDE, DIM = 2, 6, 8
GRIDS = [(9, 9), (4, 4), (5, 11)]  # larger, smaller, a rectangle


def tiny(name: str = "vit_b16", **settings) -> VisionTransformer:
    defaults = dict(
        embed_dims=DIM,
        depth=2,
        num_heads=2,
        patch_size=PATCH,
        img_size=PATCH * SIDE,
        out_type="raw",
    )
    if get_preset(name).settings.get("pretrain_img_size"):
        defaults |= dict(pretrain_img_size=PATCH * SIDE, attention="global", out_type="featmap")
    return randomize(build_backbone(name, **{**defaults, **settings})).eval()


# What the families' own code does, from a map (1, C, SIDE, SIDE) to (1, C, h, w).


def google(pos: Tensor, h: int, w: int) -> Tensor:
    """vision_transformer and big_vision zoom the grid with scipy."""
    grid = pos[0].permute(1, 2, 0).numpy()
    zoomed = scipy.ndimage.zoom(grid, (h / SIDE, w / SIDE, 1), order=1)
    return torch.from_numpy(np.ascontiguousarray(zoomed)).permute(2, 0, 1)[None]


def bicubic(pos: Tensor, h: int, w: int) -> Tensor:
    """DeiT's and DeiT III's main.py, MAE's util/pos_embed.py, detectron2's get_abs_pos."""
    return F.interpolate(pos, size=(h, w), mode="bicubic", align_corners=False)


def dino(pos: Tensor, h: int, w: int) -> Tensor:
    """DINO adds 0.1 to the size against rounding errors and hands over the factor; so does DINOv2
    with interpolate_offset=0.1."""
    factor = ((h + 0.1) / SIDE, (w + 0.1) / SIDE)
    return F.interpolate(pos, scale_factor=factor, mode="bicubic")


def antialiased(pos: Tensor, h: int, w: int) -> Tensor:
    """DINOv2 with registers (interpolate_antialias=True, interpolate_offset=0), open_clip."""
    return F.interpolate(pos, size=(h, w), mode="bicubic", antialias=True, align_corners=False)


OFFICIAL: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "vit_*": google,
    "deit_*": bicubic,
    "deit3_*": bicubic,
    "mae_*": bicubic,
    "dino_*": dino,
    "dinov2_?14": dino,
    "dinov2_*_reg": antialiased,
    "clip_*": antialiased,
    "vitdet_*": bicubic,
}
FAMILIES = [(name, how) for pattern, how in OFFICIAL.items() for name in list_backbones(pattern)]


def test_every_preset_with_absolute_positions_is_tested() -> None:
    for name in set(list_backbones()) - {name for name, _ in FAMILIES}:
        preset = get_preset(name)
        assert preset.type != "VisionTransformer" or preset.settings["position"] == "rope2d", name


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize(("name", "official"), FAMILIES)
def test_presets_resize_as_their_family_does(name: str, official: Callable, grid: tuple) -> None:
    model = tiny(name)
    torch.nn.init.zeros_(model.patch_embed.proj.weight)
    if model.patch_embed.proj.bias is not None:
        torch.nn.init.zeros_(model.patch_embed.proj.bias)
    seen: list[Tensor] = []  # what enters the first block: positions and prefix tokens only
    model.norm_pre.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    h, w = grid
    with torch.no_grad():
        model(torch.randn(1, 3, PATCH * h, PATCH * w))
    patches = model.pos_embed[:, -SIDE * SIDE :].detach()
    expected = official(patches.reshape(1, SIDE, SIDE, DIM).permute(0, 3, 1, 2), h, w)
    expected = expected.flatten(2).transpose(1, 2)
    assert relative_error(seen[0][:, model.num_prefix_tokens :], expected) < 1e-6
    if model.arch.cls_token and model.arch.pos_embed_cls:
        assert torch.equal(seen[0][:, 0], (model.cls_token + model.pos_embed[:, :1])[:, 0])


@pytest.mark.parametrize("name", ["vit_b16", "deit3_s16", "mae_b16", "dinov2_s14_reg", "vitdet_b"])
def test_resizing_at_loading_equals_resizing_at_run_time(name: str) -> None:
    trained = tiny(name)
    weights = trained.state_dict()
    before = weights["pos_embed"].clone()
    at = "pretrain_img_size" if name == "vitdet_b" else "img_size"
    larger = tiny(name, **{at: (PATCH * 5, PATCH * 11)})
    larger.load_state_dict(weights)
    assert torch.equal(weights["pos_embed"], before)  # the caller's dict is the caller's
    assert larger.pos_embed.shape[1] - 5 * 11 == trained.pos_embed.shape[1] - SIDE * SIDE
    images = random_images(2, PATCH * 5, PATCH * 11)
    assert relative_error(larger(images)[0], trained(images)[0]) < 1e-5


def test_relative_position_tables_of_another_size() -> None:
    settings = dict(attention=("global", dict(type="window", window_size=3)))
    trained = tiny("vitdet_b", **settings)
    larger = tiny("vitdet_b", img_size=(PATCH * 8, PATCH * 10), **settings)
    larger.load_state_dict(trained.state_dict())
    assert larger.blocks[0].attn.rel_pos_h.shape[0] == 15
    assert larger.blocks[0].attn.rel_pos_w.shape[0] == 19
    assert larger.blocks[1].attn.rel_pos_h.shape[0] == 5  # windows stay
    images = random_images(2, PATCH * 8, PATCH * 10)
    assert relative_error(larger(images)[0], trained(images)[0]) < 1e-5


def test_file_without_class_position() -> None:
    """timm's DINOv2 with registers has added it to the class token: here it is zero."""
    with_it, without = tiny("dinov2_s14_reg"), tiny("dinov2_s14_reg", pos_embed_cls=False)
    with_it.load_state_dict(without.state_dict())
    assert not with_it.pos_embed[:, 0].any()
    images = random_images(2, 12, 12)
    assert relative_error(with_it(images)[0], without(images)[0]) < 1e-6


def test_file_with_superfluous_class_position() -> None:
    with_it, without = tiny("vit_b16"), tiny("vit_b16", pos_embed_cls=False)
    without.load_state_dict(with_it.state_dict())
    images = random_images(2, 12, 12)
    assert relative_error(without(images)[0], with_it(images)[0]) < 1e-6


def test_class_position_of_a_model_without_class_token_is_left_out() -> None:
    weights = tiny("vit_b16").state_dict()
    model = tiny("vit_b16", cls_token=False)
    assert model.load_state_dict(weights, strict=False).unexpected_keys == ["cls_token"]
    assert torch.equal(model.pos_embed, weights["pos_embed"][:, 1:])


@pytest.mark.parametrize("cls_token", [True, False], ids=["class token", "none"])
def test_a_square_file_is_not_taken_for_the_models_rectangle(cls_token: bool) -> None:
    """9 positions are 3 x 3 patches, though 8 patches and a class token would be as many."""
    trained = tiny("vit_b16", img_size=3 * PATCH, cls_token=cls_token, pos_embed_cls=False)
    model = tiny("vit_b16", img_size=(PATCH, 8 * PATCH), cls_token=cls_token, pos_embed_cls=False)
    model.load_state_dict(trained.state_dict())
    images = random_images(2, PATCH, 8 * PATCH)
    assert relative_error(model(images)[0], trained(images)[0]) < 1e-5


def test_positions_that_fit_no_grid_are_refused() -> None:
    model = tiny("vit_b16")
    weights = {**model.state_dict(), "pos_embed": torch.zeros(1, 1 + 37, DIM)}
    with pytest.raises(RuntimeError, match="size mismatch for pos_embed"):
        model.load_state_dict(weights)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "trained.pth"
    torch.save({"state_dict": tiny("vit_b16").state_dict()}, path)
    return path


def test_mmengine_load_checkpoint_resizes(checkpoint: Path) -> None:
    model = tiny("vit_b16", img_size=PATCH * 9)
    torch.nn.init.zeros_(model.pos_embed)
    load_checkpoint(model, str(checkpoint), map_location="cpu", strict=True)
    images = random_images(2, PATCH * 9, PATCH * 9)
    assert relative_error(model(images)[0], tiny("vit_b16")(images)[0]) < 1e-5


@pytest.mark.parametrize("prefix", [None, "backbone"])
def test_init_cfg_pretrained_resizes(checkpoint: Path, tmp_path: Path, prefix: str | None) -> None:
    init_cfg = dict(type="Pretrained", checkpoint=str(checkpoint))
    if prefix:
        weights = torch.load(checkpoint, weights_only=True)["state_dict"]
        init_cfg.update(checkpoint=str(tmp_path / "whole.pth"), prefix=f"{prefix}.")
        torch.save({f"{prefix}.{k}": v for k, v in weights.items()}, init_cfg["checkpoint"])
    model = tiny("vit_b16", img_size=PATCH * 9, init_cfg=init_cfg)
    model.init_weights()
    images = random_images(2, PATCH * 9, PATCH * 9)
    assert relative_error(model(images)[0], tiny("vit_b16")(images)[0]) < 1e-5


@pytest.mark.parametrize("grid", [(SIDE, SIDE), *GRIDS], ids=str)
def test_gradients_reach_every_position_parameter_at_any_size(grid: tuple[int, int]) -> None:
    model = tiny("vitdet_b", position=("learned", "decomposed"))
    out = model(random_images(2, PATCH * grid[0], PATCH * grid[1]))[0]
    (out * torch.randn_like(out)).sum().backward()
    for name, parameter in model.named_parameters():
        if "pos" in name:
            share = (parameter.grad.abs() > 0).float().mean()
            # a map that is smaller than the table's leaves out some of its distances
            assert share == 1 or (min(grid) < SIDE and share > 0.5), f"{name}: {share}"


def test_sincos_and_sinusoid_are_not_trained() -> None:
    for position in ("sincos2d", "sinusoid1d"):
        model = tiny("vit_b16", position=position)
        assert not model.pos_embed.requires_grad
        assert model.pos_embed.shape == (1, 1 + SIDE**2, DIM)


@pytest.mark.parametrize("size", [56, 70])
def test_positions_resized_by_a_factor_can_be_traced(size: int) -> None:
    model = build_backbone("dinov2_s14", embed_dims=32, depth=1, num_heads=2, img_size=56)
    randomize(model).eval()
    images = random_images(1, size, size)
    (out,) = torch.jit.trace(model, images)(images)
    torch.testing.assert_close(out, model(images)[0])
