"""init_cfg=dict(type='Pretrained', ...) loads published files in mmpretrain, mmdet and mmseg."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from tests.checkpoint.test_refusals import TINY, tiny, weights
from vit_backbones import UserError
from vit_backbones.checkpoint.layouts import TARGETS

TYPES = {"vit_b16": "VisionTransformer", "swin_t": "SwinTransformer", "mvitv2_t": "MViT"}
OUTPUTS = {"vit_b16": dict(out_type="featmap"), "swin_t": {}, "mvitv2_t": {}}
WIDTHS = {"vit_b16": 32, "swin_t": 64, "mvitv2_t": 64}


def backbone(name: str, **init) -> dict:
    init_cfg = dict(type="Pretrained", **{k: str(v) for k, v in init.items()})
    arch = dict(arch=name, **TINY[name], **OUTPUTS[name])
    return dict(type=f"vit_backbones.{TYPES[name]}", **arch, init_cfg=init_cfg)


def classifier(encoder: dict, width: int) -> dict:
    head = dict(type="LinearClsHead", num_classes=5, in_channels=width)
    neck = dict(type="GlobalAveragePooling")
    return dict(type="mmpretrain.ImageClassifier", backbone=encoder, neck=neck, head=head)


def detector(encoder: dict, width: int) -> dict:
    neck = dict(type="ChannelMapper", in_channels=[width], out_channels=16, num_outs=1)
    anchors = dict(type="AnchorGenerator", scales=[8], ratios=[1.0], strides=[16])
    head = dict(
        type="RetinaHead",
        num_classes=3,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        anchor_generator=anchors,
        bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
    )
    return dict(type="mmdet.RetinaNet", backbone=encoder, neck=neck, bbox_head=head)


def segmenter(encoder: dict, width: int) -> dict:
    head = dict(
        type="FCNHead",
        in_channels=width,
        in_index=0,
        channels=8,
        num_classes=3,
        norm_cfg=dict(type="BN"),
    )
    test_cfg = dict(mode="whole")
    return dict(type="mmseg.EncoderDecoder", backbone=encoder, decode_head=head, test_cfg=test_cfg)


LIBRARIES = {"mmpretrain": classifier, "mmdet": detector, "mmseg": segmenter}


def build(library: str, name: str, **init) -> nn.Module:
    import_module(f"{library}.models")
    with DefaultScope.overwrite_default_scope(library):
        return MODELS.build(LIBRARIES[library](backbone(name, **init), WIDTHS[name]))


def write(path: Path, name: str, prefix: str) -> dict:
    """A file in timm's names behind a prefix; returns the weights by ours."""
    native = weights(name)
    layout = next(x for x in TARGETS["timm"][TYPES[name]] if x.holds(native))
    theirs = {prefix + n: t for n, t in layout.from_native(native).items()}
    torch.save({"state_dict": theirs | {"head.weight": torch.zeros(3)}}, path)
    return native


@pytest.mark.parametrize("prefix", ["", "backbone."])
@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_model_of_the_library_starts_from_the_file(library, name, prefix, tmp_path) -> None:
    native = write(tmp_path / "timm.pth", name, prefix)
    for given in {"", prefix}:  # the prefix is found, and may be named
        init = dict(checkpoint=tmp_path / "timm.pth", **({"prefix": given} if given else {}))
        model = build(library, name, **init)
        model.init_weights()
        own = model.backbone.state_dict()
        assert all(torch.equal(own[n], tensor) for n, tensor in native.items() if n in own)
        assert set(own) == set(native)


@pytest.mark.parametrize("name", TYPES)
def test_one_of_several_encoders_by_its_prefix(name, tmp_path) -> None:
    first, second = weights(name), {n: t + 1 for n, t in weights(name).items()}
    both = {f"a.{n}": t for n, t in first.items()} | {f"b.{n}": t for n, t in second.items()}
    torch.save(both, tmp_path / "both.pth")
    for prefix, expected in (("a.", first), ("b.", second), ("a", first)):
        init = dict(checkpoint=tmp_path / "both.pth", prefix=prefix)
        model = build("mmpretrain", name, **init)
        model.init_weights()
        own = model.backbone.state_dict()
        assert all(torch.equal(tensor, expected[n]) for n, tensor in own.items())


def test_what_cannot_be_loaded_ends_in_an_error(tmp_path) -> None:
    """mmengine's own would warn and train from scratch."""
    path = tmp_path / "other.pth"
    torch.save(weights("vit_b16"), path)
    model = build("mmseg", "swin_t", checkpoint=path)
    with pytest.raises(UserError, match="no SwinTransformer"):
        model.init_weights()
    torch.save(weights("swin_t"), path)
    model = build("mmdet", "swin_t", checkpoint=path, prefix="neck.")
    with pytest.raises(UserError, match=r"no names that begin with 'neck\.'"):
        model.init_weights()


def test_what_is_missing_starts_new_where_strict_is_off(tmp_path) -> None:
    path, part = tmp_path / "part.pth", weights("vit_b16")
    del part["pos_embed"]
    torch.save(part, path)
    init_cfg = dict(type="Pretrained", checkpoint=str(path))
    with pytest.raises(UserError, match="pos_embed"):
        tiny("vit_b16", init_cfg=init_cfg).init_weights()
    model = tiny("vit_b16", init_cfg=dict(init_cfg, strict=False))
    model.init_weights()
    own = model.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in part.items())


def test_weights_are_loaded_once(tmp_path) -> None:
    path = tmp_path / "a.pth"
    torch.save(weights("swin_t"), path)
    model = tiny("swin_t", init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    model.init_weights()
    path.unlink()
    model.init_weights()
