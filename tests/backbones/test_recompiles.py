"""What torch.compile has to trace again while an encoder trains: nothing at one size, and little at
the mixed sizes of a detector."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from tests.backbones.test_base import TINY
from tests.parity import random_images
from vit_backbones.cli.training import compile_options
from vit_backbones.layers.patch_embed import PatchEmbed
from vit_backbones.registry import MODELS

WINDOW = dict(type="window", window_size=3)
VITDET = dict(
    arch="vitdet_b",
    embed_dims=16,
    depth=2,
    num_heads=2,
    patch_size=4,
    img_size=64,
    pretrain_img_size=32,
    attention=(WINDOW, "global"),
)
ENCODERS = {
    "ViT": ("VisionTransformer", TINY["VisionTransformer"]),
    "ViTDet": ("VisionTransformer", VITDET),
    "Swin": ("SwinTransformer", TINY["SwinTransformer"]),
    "Swin, two stages": (
        "SwinTransformer",
        dict(embed_dims=8, depths=(1, 2), num_heads=(1, 2), window_size=3, out_indices=(0, 1)),
    ),
    "Swin, window of 30": (
        "SwinTransformer",
        dict(embed_dims=8, depths=(1,), num_heads=(1,), window_size=30),
    ),
    "MViT": ("MViT", TINY["MViT"]),
}
# Windows whole or not, taller or wider, and a size of broken patches
SIZES = [(64, 96), (64, 96), (96, 128), (128, 96), (160, 96), (96, 192), (64, 96), (126, 157)]


def graphs_after_each(name: str, sizes: list[tuple[int, int]]) -> list[int]:
    """Graphs that were traced so far after each training step."""
    kind, settings = ENCODERS[name]
    model = MODELS.get(kind)(**settings, drop_path_rate=0.2).train()
    # Of inductor all but its own code: what it derives and assumes of sizes and strides makes
    # graphs, too.
    return graphs_of(model, sizes, backend="aot_eager_decomp_partition")


def graphs_of(model: nn.Module, sizes: list[tuple[int, int]], **how) -> list[int]:
    torch.compiler.reset()
    counters.clear()
    model.compile(**how)  # in place, as tools/train.py --compile does
    graphs = []
    for size in sizes:
        outputs = model(random_images(2, *size))
        sum(out.square().mean() for out in outputs).backward()
        graphs.append(counters["stats"]["unique_graphs"])
    assert not counters["graph_break"]
    return graphs


@pytest.mark.parametrize("name", ["ViT", "ViTDet", "Swin", "MViT"])
def test_one_size_is_one_graph(name: str) -> None:
    assert graphs_after_each(name, [(64, 96)] * 3) == [1, 1, 1]


@pytest.mark.parametrize("name", ["ViT", "ViTDet", "Swin, two stages"])
def test_mixed_sizes_share_a_graph(name: str) -> None:
    """One graph for the first size, one for any; ViTDet's tables of relative positions fit one side
    as they are, and have to be resized for others. MViT's takes a minute to trace."""
    graphs = graphs_after_each(name, SIZES)
    assert graphs[1] == 1
    assert graphs[-1] <= (3 if name == "ViTDet" else 2)


def test_a_window_that_shrinks_to_its_map_is_a_number() -> None:
    """A graph for each: a window of any size is not traced within minutes."""
    sizes = [(64, 96), (96, 128), (96, 160), (64, 128)]  # windows of 16, 24, 24 and 16 patches
    assert graphs_after_each("Swin, window of 30", sizes) == [1, 2, 2, 3]


def test_inductor_has_patches_of_any_size_in_one_graph() -> None:
    """With the options of tools/train.py; without, each size makes a graph."""
    sizes = [(32, 48), (40, 44), (44, 40), (56, 60), (43, 77)]
    options = compile_options(torch.device("cpu"))
    graphs = graphs_of(PatchEmbed(3, 16, (4, 4)), sizes, options=options)
    assert graphs == [1, 2, 2, 2, 2]
