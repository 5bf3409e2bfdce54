"""Files made at another size, against what the peers and the authors' formulas make of them."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from mmengine.config import ConfigDict
from timm.layers import resample_patch_embed, resize_rel_pos_bias_table
from timm.models import swin_transformer, swin_transformer_v2, vision_transformer
from timm.models._manipulate import adapt_input_conv
from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg
from timm.models.mvitv2 import checkpoint_filter_fn as filter_mvit
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import vision_transformer as torchvision_vit

from tests.backbones.swin_peers import DEPTHS, HEADS, STAGES, MMDetSwin, mmdet_pair, timm_pair
from tests.backbones.swin_peers import DIM as SWIN_DIM
from tests.backbones.swin_peers import ours as our_swin
from tests.backbones.test_mvit_parity import TINY as TINY_MVIT
from tests.backbones.vit_peers import (
    DIM,
    PATCH,
    SIZE,
    TIMM,
    TIMM_RESIZES,
    hf_dino,
    ours,
    torchvision_pair,
)
from tests.parity import random_images, randomize, relative_error
from vit_backbones import MViT, load_checkpoint
from vit_backbones.checkpoint.resizing import resize_bias_table_geometrically

TABLE = "layers.0.blocks.0.attn.relative_position_bias_table"


def assert_same_outputs(model: nn.Module, run, size: int | tuple[int, int]) -> None:
    images = random_images(2, *(size if isinstance(size, tuple) else (size, size)))
    with torch.no_grad():
        for a, b in zip(model.eval()(images), run(images), strict=True):
            assert relative_error(a, b) < 1e-5


@pytest.mark.parametrize("size", [8, 28, (20, 36)], ids=str)
@pytest.mark.parametrize(
    ("name", "preset", "settings"),
    [
        ("vit_base_patch16_224", "vit_b16", {}),
        ("deit3_small_patch16_224", "deit3_s16", {}),
        ("vit_small_patch14_reg4_dinov2", "dinov2_s14_reg", dict(pos_embed_cls=False)),
    ],
)
def test_positions_as_timm(name, preset, settings, size) -> None:
    """resample_abs_pos_embed, through timm's own loading."""
    state = randomize(timm.create_model(name, num_classes=0, **TIMM)).state_dict()
    peer = timm.create_model(name, num_classes=0, **{**TIMM, "img_size": size}).eval()
    peer.load_state_dict(vision_transformer.checkpoint_filter_fn(dict(state), peer))
    model = ours(preset, img_size=size, pos_interpolation=TIMM_RESIZES, **settings)
    report = load_checkpoint(model, state)
    (resized,) = report.resized.items()
    assert resized == (
        "pos_embed",
        (tuple(state["pos_embed"].shape), (tuple(model.pos_embed.shape))),
    )
    assert_same_outputs(model, lambda x: (peer.forward_features(x),), size)


@pytest.mark.parametrize("size", [8, 28, 36])
def test_positions_as_dino(size) -> None:
    """The authors' formula, with 0.1 added to the new size: resized when the file is loaded, as
    their code resizes in every forward."""
    pair = hf_dino()
    state = randomize(pair.peer).eval().state_dict()
    assert ours("dinov2_s14").arch.interpolation == ours("dino_s16").arch.interpolation
    model = ours("dino_s16", img_size=size)
    report = load_checkpoint(model, state)
    assert list(report.resized) == ["pos_embed"]
    assert_same_outputs(model, pair.run, size)


@pytest.mark.parametrize("size", [8, 28])
def test_positions_as_torchvision(size) -> None:
    state = randomize(torchvision_pair().peer).state_dict()
    large = torchvision_pair(size)
    large.peer.load_state_dict(torchvision_vit.interpolate_embeddings(size, PATCH, state.copy()))
    how = dict(mode="bicubic", align_corners=True)
    model = ours("vit_b16", img_size=size, pos_interpolation=how)
    load_checkpoint(model, state)
    large.peer.eval()
    assert_same_outputs(model, large.run, size)


@pytest.mark.parametrize("window", [2, 3, 6, 8])
def test_bias_tables_as_timm(window) -> None:
    """A file of timm's is resized as timm resizes it."""
    size = (96, 96)
    state = randomize(timm_pair(1, size).peer.peer).state_dict()
    peer = timm.create_model(
        "swin_tiny_patch4_window7_224",
        num_classes=0,
        img_size=size,
        window_size=window,
        embed_dim=SWIN_DIM,
        depths=DEPTHS,
        num_heads=HEADS,
    ).eval()
    peer.load_state_dict(swin_transformer.checkpoint_filter_fn(dict(state), peer))
    windows = [min(window, size[0] // 4 // 2**i) for i in STAGES]  # timm's tables shrink with maps
    model = our_swin(1, window_size=windows, out_indices=-1)
    report = load_checkpoint(model, state)
    assert report.resized[TABLE] == ((49, 1), ((2 * window - 1) ** 2, 1))
    assert_same_outputs(model, lambda x: (peer.forward_features(x).permute(0, 3, 1, 2),), size)


@pytest.mark.parametrize(("old", "new"), [(7, 12), (12, 7), (7, 8), (8, 16), (12, 24), (7, 14)])
def test_bias_tables_of_real_windows_as_timm(old, new) -> None:
    table = torch.randn((2 * old - 1) ** 2, 3, generator=torch.Generator().manual_seed(0))
    expected = resize_rel_pos_bias_table(table, (new, new), ((2 * new - 1) ** 2, 3))
    resized = resize_bias_table_geometrically(table, new)
    assert relative_error(resized, expected) < 1e-5
    half = resize_bias_table_geometrically(table.half(), new)
    assert half.dtype == torch.half and relative_error(half.float(), expected) < 1e-2


def assert_same_tables(model: nn.Module, expected: dict[str, Tensor]) -> None:
    own = {name: t for name, t in model.state_dict().items() if name.endswith("bias_table")}
    assert own.keys() == expected.keys()
    for name, table in own.items():
        assert relative_error(table, expected[name]) < 1e-6


@pytest.mark.parametrize("window", [2, 6])
def test_bias_tables_as_the_authors(window) -> None:
    """Bicubic, as in load_pretrained of their code."""
    state = randomize(our_swin(1)).state_dict()
    model = our_swin(1, window_size=window)
    load_checkpoint(model, state)
    expected = {}
    for name, table in state.items():
        if name.endswith("bias_table"):
            side = math.isqrt(len(table))
            square = table.T.reshape(1, -1, side, side)
            new = F.interpolate(square, size=(2 * window - 1,) * 2, mode="bicubic")
            expected[name] = new.flatten(2)[0].T
    assert_same_tables(model, expected)


@pytest.mark.parametrize("window", [2, 6])
def test_bias_tables_as_mmdet(window, tmp_path) -> None:
    detector = nn.ModuleDict({"backbone": randomize(mmdet_pair().peer)})
    path = str(tmp_path / "swin.pth")
    state = {n: t for n, t in detector.state_dict().items() if not n.endswith("_index")}
    torch.save({"state_dict": state}, path)
    peer = MMDetSwin(
        embed_dims=SWIN_DIM,
        depths=DEPTHS,
        num_heads=HEADS,
        strides=(4, 2, 2),
        window_size=window,
        out_indices=STAGES,
        init_cfg=ConfigDict(type="Pretrained", checkpoint=path),
    )
    peer.init_weights()
    peer.eval()
    model = our_swin(1, window_size=window, pad_small_map=True)
    load_checkpoint(model, path)
    tables = {n: t for n, t in peer.state_dict().items() if n.endswith("bias_table")}
    rename = lambda n: n.replace("stages", "layers").replace("w_msa.", "")  # noqa: E731
    assert_same_tables(model, {rename(name): table for name, table in tables.items()})
    assert_same_outputs(model, peer, (64, 96))


@pytest.mark.parametrize("pretrained", [0, 4])
def test_continuous_biases_of_another_window(pretrained) -> None:
    """Version 2: nothing is resized; offsets are scaled by the window of the pre-training."""
    size, window = (96, 96), 6
    state = randomize(timm_pair(2, size).peer.peer).state_dict()
    peer = timm.create_model(
        "swinv2_tiny_window8_256",
        num_classes=0,
        img_size=size,
        window_size=window,
        pretrained_window_sizes=(pretrained,) * 3,
        embed_dim=SWIN_DIM,
        depths=DEPTHS,
        num_heads=HEADS,
    ).eval()
    peer.load_state_dict(swin_transformer_v2.checkpoint_filter_fn(dict(state), peer))
    model = our_swin(
        2, window_size=window, pretrained_window_sizes=(pretrained,) * 3, out_indices=-1
    )
    report = load_checkpoint(model, state)
    assert not report.resized and not report.unfilled
    assert_same_outputs(model, lambda x: (peer.forward_features(x).permute(0, 3, 1, 2),), size)


@pytest.mark.parametrize("size", [32, 96])
def test_decomposed_tables_as_timm(size) -> None:
    cfg = MultiScaleVitCfg(depths=TINY_MVIT["depths"], embed_dim=TINY_MVIT["embed_dims"])
    old, peer = (MultiScaleVit(cfg, img_size=s, num_classes=0, global_pool="") for s in (64, size))
    state = randomize(old).state_dict()
    peer.load_state_dict(filter_mvit(dict(state), peer))
    model = MViT(TINY_MVIT, img_size=size, out_type="raw")
    report = load_checkpoint(model, state)
    assert all(".rel_pos_" in name for name in report.resized)
    assert len(report.resized) == 2 * sum(TINY_MVIT["depths"])
    peer.eval()
    assert_same_outputs(model, lambda x: (peer.forward_features(x),), size)


@pytest.mark.parametrize("patch", [2, 3, 6, 8])
def test_patch_kernels_as_flexivit(patch) -> None:
    """Bilinear, as in the paper; timm's default is bicubic."""
    source = randomize(ours("vit_b16"))
    model = ours("vit_b16", patch_size=patch, img_size=patch * SIZE // PATCH)
    report = load_checkpoint(model, source.state_dict())
    assert list(report.resized) == ["patch_embed.proj.weight"]
    kernel = source.patch_embed.proj.weight.detach()
    expected = resample_patch_embed(kernel, [patch, patch], "bilinear", antialias=True)
    assert relative_error(model.patch_embed.proj.weight.detach(), expected) < 1e-5


def test_larger_patches_see_larger_images_as_before() -> None:
    """The point of the pseudo-inverse: enlarged images give the tokens of the original ones."""
    source = randomize(ours("vit_b16"))
    model = ours("vit_b16", patch_size=2 * PATCH, img_size=2 * SIZE)
    load_checkpoint(model, source.state_dict())
    images = random_images(2, SIZE, SIZE)
    patches = images.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    flat = patches.reshape(-1, 1, PATCH, PATCH)
    large = F.interpolate(flat, scale_factor=2, mode="bilinear").reshape(*patches.shape[:4], 8, 8)
    large = large.permute(0, 1, 2, 4, 3, 5).reshape(2, 3, 2 * SIZE, 2 * SIZE)
    with torch.no_grad():
        assert relative_error(model.eval()(large)[0], source.eval()(images)[0]) < 1e-5


def model_of_channels(kind: str, channels: int) -> tuple[nn.Module, nn.Module]:
    build = {
        "vit": lambda **s: ours("vit_b16", **s),
        "swin": lambda **s: our_swin(1, **s),
        "mvit": lambda **s: MViT(TINY_MVIT, **s),
    }[kind]
    return build(), build(in_channels=channels)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
@pytest.mark.parametrize("kind", ["vit", "swin", "mvit"])
def test_image_channels_as_timm(kind, channels) -> None:
    source, model = model_of_channels(kind, channels)
    report = load_checkpoint(model, randomize(source).state_dict())
    kernel = source.patch_embed.proj.weight.detach()
    old, new = tuple(kernel.shape), (len(kernel), channels, *kernel.shape[2:])
    assert report.resized == {"patch_embed.proj.weight": (old, new)}
    own: Tensor = model.patch_embed.proj.weight.detach()
    assert relative_error(own, adapt_input_conv(channels, kernel)) < 1e-6
    if channels == 1:  # a grey image as before, when it was copied to three channels
        grey = random_images(2, 64, 64, channels=1)
        with torch.no_grad():
            a, b = (
                m.eval()(x)[0] for m, x in ((model, grey), (source, grey.expand(-1, 3, -1, -1)))
            )
        assert relative_error(a, b) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_all_at_once_in_any_precision(dtype) -> None:
    """Patches, channels and positions of a file: the model keeps its precision."""
    source = randomize(ours("vit_b16"))
    settings = dict(patch_size=8, img_size=(40, 56), in_channels=1)
    exact, model = (ours("vit_b16", **settings) for _ in range(2))
    load_checkpoint(exact, source.state_dict())
    report = load_checkpoint(model, source.to(dtype).state_dict())
    assert set(report.resized) == {"patch_embed.proj.weight", "pos_embed"}
    assert not report.unfilled and model.pos_embed.shape == (1, 1 + 5 * 7, DIM)
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert relative_error(tensor, exact.state_dict()[name]) < 0.02
