"""Properties of the plain ViT over random architectures and sizes."""

from __future__ import annotations

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.parity import random_images, randomize, relative_error
from vit_backbones import VisionTransformer
from vit_backbones.complexity import count

sides = st.integers(1, 40)
patches = st.integers(2, 9)
few = settings(max_examples=15, deadline=None, derandomize=True)


@st.composite
def archs(draw) -> dict:
    heads = draw(st.integers(1, 3))
    cls_token = draw(st.booleans())
    return dict(
        embed_dims=4 * heads * draw(st.integers(1, 3)),
        num_heads=heads,
        depth=draw(st.integers(1, 2)),
        mlp_ratio=draw(st.sampled_from([1.0, 2.5])),
        patch_size=(draw(patches), draw(patches)),
        img_size=(draw(sides), draw(sides)),
        in_channels=draw(st.integers(1, 4)),
        cls_token=cls_token,
        num_registers=draw(st.integers(0, 2)),
        position=draw(
            st.sampled_from(
                [
                    "none",
                    "learned",
                    "sinusoid1d",
                    "sincos2d",
                    "rope2d",
                    "decomposed",
                    ("learned", "decomposed"),
                    ("sincos2d", "rope2d"),
                ]
            )
        ),
        pos_embed_cls=draw(st.booleans()),
        attention=draw(st.sampled_from(["global", (dict(type="window", window_size=2), "global")])),
        mlp=draw(st.sampled_from(["gelu", "gelu_tanh", "quick_gelu", "swiglu"])),
        qk_norm=draw(st.booleans()),
        pre_norm=draw(st.booleans()),
        layer_scale_init=draw(st.sampled_from([None, 0.1])),
    )


def build(arch: dict, **options) -> VisionTransformer:
    return randomize(VisionTransformer(arch, **options)).eval()


@few
@given(arch=archs(), height=sides, width=sides, batch=st.integers(1, 3))
def test_outputs_have_the_promised_shapes_and_agree(
    arch: dict, height: int, width: int, batch: int
) -> None:
    images = random_images(batch, height, width, arch["in_channels"])
    everywhere = dict(out_indices=range(arch["depth"]))
    raws = build(arch, out_type="raw", **everywhere)(images)
    maps = build(arch, out_type="featmap", **everywhere)(images)
    means = build(arch, out_type="avg_featmap", **everywhere)(images)
    h, w = (-(-side // patch) for side, patch in zip((height, width), arch["patch_size"]))
    prefix, dim = arch["cls_token"] + arch["num_registers"], arch["embed_dims"]
    for raw, featmap, mean in zip(raws, maps, means, strict=True):
        assert raw.shape == (batch, prefix + h * w, dim)
        assert featmap.shape == (batch, dim, h, w)
        assert torch.equal(featmap.flatten(2).transpose(1, 2), raw[:, prefix:])
        torch.testing.assert_close(mean, raw[:, prefix:].mean(1))
    assert count(build(arch, out_type="raw"), (height, width)).outputs[0] == raws[-1].shape[1:]


@few
@given(arch=archs(), height=sides, width=sides)
def test_samples_of_a_batch_do_not_see_each_other(arch: dict, height: int, width: int) -> None:
    model = build(arch, out_type="raw")
    images = random_images(3, height, width, arch["in_channels"])
    together = model(images)[0]
    for i in range(3):
        assert relative_error(model(images[i : i + 1])[0], together[i : i + 1]) < 1e-5


@few
@given(arch=archs(), height=sides, width=sides)
def test_padding_is_zeros_at_the_bottom_and_right(arch: dict, height: int, width: int) -> None:
    model = build(arch, out_type="raw")
    images = random_images(2, height, width, arch["in_channels"])
    ph, pw = arch["patch_size"]
    padded = F.pad(images, (0, -width % pw, 0, -height % ph))
    assert torch.equal(model(images)[0], model(padded)[0])


@few
@given(arch=archs(), height=sides, width=sides)
def test_checkpoints_of_any_size_load_into_any_other(arch: dict, height: int, width: int) -> None:
    """Square to any: what holds at run time holds at loading."""
    h, w = (-(-side // patch) for side, patch in zip((height, width), arch["patch_size"]))
    assume(h * w != 9 or h == w)  # a file of 9 positions for a model of 9 is the model's own
    square = {**arch, "img_size": tuple(3 * side for side in arch["patch_size"])}
    trained = build(square, out_type="raw")
    resized = build({**arch, "img_size": (height, width)}, out_type="raw")
    resized.load_state_dict(trained.state_dict())
    images = random_images(2, height, width, arch["in_channels"])
    assert relative_error(resized(images)[0], trained(images)[0]) < 1e-4
