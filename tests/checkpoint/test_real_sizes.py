"""Every preset at its real size, without memory: names and shapes in other libraries, and back."""

from __future__ import annotations

import re

import pytest
import timm  # noqa: F401  (the code that is run imports it, on the meta device)
import torch

from vit_backbones import UserError, build_backbone, list_backbones
from vit_backbones.checkpoint.layouts import TARGETS
from vit_backbones.checkpoint.peers import loading_code
from vit_backbones.checkpoint.recognition import read_as

LARGE = ("vit_l16", "dinov2_g14", "dinov3_hplus16", "clip_l14_336", "swinv2_b", "mvitv2_l")


def on_meta(name: str, **settings):
    with torch.device("meta"):
        return build_backbone(name, **settings)


def shapes(state: dict) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def squeezed(state: dict) -> dict[str, tuple[int, ...]]:
    """Without dimensions of one, which loading adds."""
    return {name: tuple(n for n in shape if n != 1) for name, shape in shapes(state).items()}


@pytest.mark.parametrize("name", list_backbones())
def test_names_and_shapes_there_and_back(name) -> None:
    encoder = on_meta(name)
    native, written = encoder.state_dict(), 0
    for target in TARGETS:
        layouts = TARGETS[target].get(type(encoder).__name__, ())
        layout = next((layout for layout in layouts if layout.holds(native)), None)
        if layout is None:
            continue
        theirs = layout.from_native(native)
        back = read_as(type(encoder).__name__, native, theirs).translate(theirs)
        own = squeezed(native)
        found = squeezed(back)
        # a class position of zeros where they have one and ours has not, or the other way round
        position = {key: (own.pop(key), found.pop(key)) for key in ("pos_embed",) if key in own}
        for (length, *width), (their_length, *their_width) in position.values():
            assert abs(length - their_length) <= 1 and width == their_width
        # the norm of the last output, whose stage is in mmpretrain's and mmdet's names
        own, found = (
            {re.sub(r"^norm\d\.", "norm.", key): v for key, v in side.items()}
            for side in (own, found)
        )
        assert found == own, target
        written += 1
    assert written


@pytest.mark.parametrize("name", LARGE)
def test_timm_has_the_same_names_and_shapes(name) -> None:
    encoder = on_meta(name)
    code = loading_code("timm", encoder, "file.pth")
    code = re.sub(r", checkpoint_path='file.pth'|timm\.models\.load_checkpoint.*\n", "", code)
    scope: dict = {}
    with torch.device("meta"):
        exec(code[: code.index("features =")], scope)
    theirs = shapes(scope["model"].state_dict())
    layouts = TARGETS["timm"][type(encoder).__name__]
    native = encoder.state_dict()
    layout = next(layout for layout in layouts if layout.holds(native))
    ours = shapes(layout.from_native(native))
    constant = re.compile(r"relative_(position_index|coords_table)|attn_mask|k_bias|rope\.")
    theirs = {key: shape for key, shape in theirs.items() if not constant.search(key)}
    assert ours == theirs


def test_every_preset_has_code_or_a_reason() -> None:
    for name in list_backbones():
        encoder = on_meta(name)
        assert "vit_backbones" in loading_code("native", encoder, "file.pth")
        for target in TARGETS:
            try:
                code = loading_code(target, encoder, "file.pth")
            except UserError as error:
                assert str(error).startswith(f"{target} has no model")
            else:
                compile(code, name, "exec")
