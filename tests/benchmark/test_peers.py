"""Peers are the same networks as ours: parameters, outputs and multiply-adds of tiny ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vit_backbones.backbones.vit_arch import ViTArch
from vit_backbones.benchmark.contender import OURS, Contender, look_at, our_encoder
from vit_backbones.benchmark.peer import NotOffered, check_settings
from vit_backbones.benchmark.peers import LIBRARIES, PEERS, build_peer
from vit_backbones.benchmark.workload import Workload

SWIN = dict(embed_dims=16, depths=(2, 2, 1), window_size=4)
MVIT = dict(embed_dims=16, depths=(1, 1, 2, 1))
VIT = dict(embed_dims=64, depth=2)
VITDET = dict(
    embed_dims=64, depth=3, attention=(dict(type="window", window_size=3), "global", "global")
)
ALL = set(LIBRARIES)
SURPLUS = {  # parameters that only they have, and that don't take part in what we measure
    ("torchvision", "swinv2_t"): 2 * 16 + 2 * 32 + 1 * 64,  # the keys' bias, always 0
    ("transformers", "dinov2_s14"): 64,  # the token of masked patches
    ("transformers", "vitdet_b"): 64,  # the position of a class token
}


def workload(size: tuple[int, int] = (64, 64), maps: bool = False, mode: str = "infer") -> Workload:
    return Workload(mode, size, batch=2, maps=maps)


@pytest.mark.parametrize(
    "model, settings, work, expected",
    [
        ("vit_b16", VIT, workload(), ALL - {"mmdet"}),
        ("vit_b16", VIT, workload((64, 96)), ALL - {"mmdet", "torchvision"}),
        ("deit3_s16", VIT, workload(), {"timm"}),
        ("dinov2_s14", VIT, workload((56, 56)), {"timm", "mmpretrain", "transformers"}),
        ("vitdet_b", VITDET, workload((128, 128)), {"timm", "mmpretrain", "transformers"}),
        (  # windows of the size that is the default
            "vitdet_b",
            VITDET | dict(attention=("window", "global", "global")),
            workload((128, 128)),
            {"timm", "mmpretrain", "transformers"},
        ),
        ("swin_t", SWIN, workload(), ALL),
        ("swin_t", SWIN, workload((64, 96), maps=True), ALL),
        ("swin_t", SWIN | dict(mlp_ratio=2), workload(), ALL),
        ("swinv2_t", SWIN, workload(), ALL - {"mmdet"}),
        ("swinv2_t", SWIN, workload((64, 96), maps=True), ALL - {"mmdet"}),
        ("mvitv2_t", MVIT, workload(), {"timm", "mmpretrain"}),
        ("mvitv2_t", MVIT, workload((128, 128), maps=True), {"timm", "mmpretrain"}),
        ("mvit_b16", MVIT, workload(), {"torchvision"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_peers_are_the_same_network(
    model: str, settings: dict, work: Workload, expected: set[str]
) -> None:
    ours = examine(OURS, model, settings, work)
    found = set()
    for library in LIBRARIES:
        try:
            theirs = examine(library, model, settings, work)
        except NotOffered:
            continue
        found.add(library)
        surplus = SURPLUS.get((library, model), 0)
        assert theirs["params"] == ours["params"] + surplus, library
        assert theirs["shapes"] == ours["shapes"], library
        # we norm and project no padding; decomposed positions are counted in another form
        tolerance = 0.15 if model == "vitdet_b" else 0.03
        assert theirs["flops"] == pytest.approx(ours["flops"], rel=tolerance), library
    assert found == expected


def examine(library: str, model: str, settings: dict, work: Workload) -> dict[str, Any]:
    encoder = Contender(model, work, library, settings).build().eval()
    params = sum(p.numel() for p in encoder.parameters())
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:  # on the meta device attention is spelled out in products
        outputs = encoder.to("meta")(torch.empty(1, 3, *work.size, device="meta"))
    shapes = [sorted(out.shape[1:].numel() for out in outputs), [len(out) for out in outputs]]
    return dict(params=params, shapes=shapes, flops=counter.get_total_flops())


def test_the_table_names_known_types_and_libraries() -> None:
    assert set(PEERS) == {"VisionTransformer", "SwinTransformer", "MViT"}
    assert {library for row in PEERS.values() for library in row} == set(LIBRARIES)


@pytest.mark.parametrize(
    "library, model, settings, size, reason",
    [
        ("mmdet", "vit_ti16", {}, (64, 64), "has no VisionTransformer"),
        ("mmdet", "swinv2_t", {}, (64, 64), "has no Swin v2"),
        ("timm", "vit_ti16", dict(mlp="swiglu"), (64, 64), "has no encoder with mlp='swiglu'"),
        ("timm", "mvitv2_t", dict(window_size=56), (64, 64), "no encoder with window_size=56"),
        ("timm", "mvitv2_t", {}, (64, 96), "square images only, not 64x96"),
        ("torchvision", "mvitv2_t", {}, (64, 64), "has MViTv2 for videos only"),
        ("torchvision", "swin_t", dict(window_size=(7, 7, 7, 4)), (64, 64), "one window_size"),
        ("mmdet", "swin_t", dict(mlp_ratio=2.5), (64, 64), "whole numbers only for mlp_ratio"),
        ("timm", "vitdet_b", dict(attention="global"), (64, 64), "windows of one size, not of 0"),
    ],
)
def test_what_a_library_lacks_is_said(
    library: str, model: str, settings: dict, size: tuple[int, int], reason: str
) -> None:
    with pytest.raises(NotOffered, match=reason):
        Contender(model, workload(size), library, settings).build()


def test_a_library_that_does_not_import_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ModuleNotFoundError("No module named 'timm'")

    model = our_encoder("vit_ti16", workload(), VIT)
    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(NotOffered, match=r"does not import .*No module named 'timm'"):
        build_peer("timm", model, maps=False)


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_a_look_shows_the_kernels_of_the_attention(mode: str) -> None:
    work = workload(mode=mode)
    anatomy = look_at(our_encoder("vit_ti16", work, VIT), work)
    assert anatomy.attention == "flash"
    assert anatomy.elements == (1 + 16) * 64
    written_out = look_at(Contender("swin_t", work, "torchvision", SWIN).build(), work)
    assert written_out.attention == "softmax"


def test_uniform_stochastic_depth_has_no_counterpart_where_it_drops():
    check_settings(ViTArch(drop_path_uniform=True))
    with pytest.raises(NotOffered, match="drop_path_uniform"):
        check_settings(ViTArch(drop_path_uniform=True, drop_path_rate=0.1), "drop_path_rate")
