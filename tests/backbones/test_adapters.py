"""What others put in the place of an encoder's parts, or hang on them: low-rank adapters, hooks,
pruning, forward-mode derivatives."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import prune

from tests.parity import random_images, randomize
from vit_backbones import build_backbone

from mmpretrain.registry import MODELS  # isort: skip  # after vit_backbones, which repairs it

ENCODERS = {
    "vit_ti16": dict(embed_dims=32, depth=2, num_heads=2, img_size=32),
    "swin_t": dict(embed_dims=16, depths=(2, 1), num_heads=(1, 2), window_size=4),
    "swinv2_t": dict(embed_dims=16, depths=(2, 1), num_heads=(1, 2), window_size=4),
    "mvitv2_t": dict(embed_dims=16, depths=(1, 1), img_size=32),
}
each_encoder = pytest.mark.parametrize("name", ENCODERS)


@each_encoder
def test_low_rank_adapters_train_alone(name: str) -> None:
    encoder = build_backbone(name, **ENCODERS[name]).eval()
    cfg = dict(type=f"vit_backbones.{type(encoder).__name__}", arch=name, **ENCODERS[name])
    adapted = MODELS.get("LoRAModel")(
        cfg, alpha=2, rank=2, targets=[dict(type=".*qkv"), dict(type=".*fc1")]
    )
    randomize(encoder)
    for key, value in adapted.module.eval().named_parameters():
        if "lora_" not in key:
            value.data = encoder.get_parameter(key.replace("original_layer.", "")).data
    images = random_images(2, 32, 32)
    expected = encoder(images)
    for out, reference in zip(adapted.forward(images), expected, strict=True):
        torch.testing.assert_close(out, reference)  # they start at zero
    sum(out.square().sum() for out in adapted.forward(images)).backward()
    trained = {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in n for n in trained)
    # the first factor's gradient passes the second, which is zero
    second = [p.grad for n, p in adapted.named_parameters() if "lora_up" in n]
    assert second and all(gradient.abs().sum() > 0 for gradient in second)


@each_encoder
def test_hooks_of_projections_are_called(name: str) -> None:
    encoder = randomize(build_backbone(name, **ENCODERS[name])).eval()
    images = random_images(2, 32, 32)
    expected, shapes = encoder(images), []
    for module_name, module in encoder.named_modules():
        if module_name.endswith("qkv"):
            module.register_forward_hook(lambda m, x, out: shapes.append(out.shape[-1]))
    for out, reference in zip(encoder(images), expected, strict=True):
        torch.testing.assert_close(out, reference)
    assert len(shapes) == sum(n.endswith("qkv") for n, _ in encoder.named_modules())


def watch(encoder: torch.nn.Module, word: str) -> list[str]:
    """The names of the modules that ``word`` is the last part of, as they are called."""
    called = []
    for name, module in encoder.named_modules():
        if name.rpartition(".")[2].startswith(word):
            module.register_forward_hook(lambda *_, name=name: called.append(name))
    return called


@each_encoder
@pytest.mark.parametrize("word", ["norm", "attn", "pool_", "mlp", "fc", "act", "proj", "drop"])
def test_hooks_on_any_part_are_called(name: str, word: str) -> None:
    encoder = randomize(build_backbone(name, **ENCODERS[name])).eval()
    images = random_images(2, 32, 32)
    expected, called = encoder(images), watch(encoder, word)
    for out, reference in zip(encoder(images), expected, strict=True):
        torch.testing.assert_close(out, reference)
    used = [n for n, _ in encoder.named_modules() if n.rpartition(".")[2].startswith(word)]
    assert set(called) == set(used)


@each_encoder
@pytest.mark.parametrize("part", ["attn", "mlp", "norm1", "norm2"])
def test_hooks_that_change_the_input_see_it_alone(name: str, part: str) -> None:
    """What they are given is the module's input, not more."""
    encoder = randomize(build_backbone(name, **ENCODERS[name])).eval()
    images, seen = random_images(2, 32, 32), []
    expected = encoder(images)
    for module_name, module in encoder.named_modules():
        if module_name.endswith(f".{part}"):
            module.register_forward_pre_hook(lambda m, x: seen.append(x) or (x[0].clone(), *x[1:]))
    for out, reference in zip(encoder(images), expected, strict=True):
        torch.testing.assert_close(out, reference)
    assert seen and (part == "attn" or all(len(x) == 1 for x in seen))


class Twice(torch.nn.Module):
    """Something in place of an MLP."""

    def forward(self, x):
        return 2 * x


@each_encoder
def test_mlps_may_be_replaced(name: str) -> None:
    encoder = randomize(build_backbone(name, **ENCODERS[name])).eval()
    images = random_images(2, 32, 32)
    for block in [m for m in encoder.modules() if hasattr(m, "mlp")]:
        block.mlp = Twice()
    called = watch(encoder, "mlp")
    assert all(out.isfinite().all() for out in encoder(images))
    assert len(called) == sum(hasattr(m, "mlp") for m in encoder.modules())


@each_encoder
def test_dropout_may_be_taken_out(name: str) -> None:
    encoder = randomize(build_backbone(name, **ENCODERS[name])).eval()
    images = random_images(2, 32, 32)
    expected = encoder(images)
    for module in encoder.modules():
        if hasattr(module, "fc1"):
            module.drop = torch.nn.Identity()
    for out, reference in zip(encoder(images), expected, strict=True):
        torch.testing.assert_close(out, reference)


@each_encoder
def test_a_forward_put_in_place_of_a_layers_is_called(name: str) -> None:
    """So do kohya's low-rank adapters and accelerate's offloading."""
    encoder = randomize(build_backbone(name, **ENCODERS[name])).eval()
    called = []

    def replace(name: str, layer: torch.nn.Module) -> None:
        forward = layer.forward
        layer.forward = lambda *inputs: called.append(name) or forward(*inputs)

    layers = {n: m for n, m in encoder.named_modules() if type(m).__name__ == "Linear"}
    layers |= {n: m for n, m in encoder.named_modules() if ".pool_" in n}
    images = random_images(2, 32, 32)
    expected = encoder(images)
    for n, layer in layers.items():
        replace(n, layer)
    for out, reference in zip(encoder(images), expected, strict=True):
        torch.testing.assert_close(out, reference)
    assert set(called) == set(layers)


@each_encoder
def test_hooks_on_all_modules_are_called(name: str) -> None:
    encoder = randomize(build_backbone(name, **ENCODERS[name])).eval()
    seen = set()
    with torch.nn.modules.module.register_module_forward_hook(lambda m, *_: seen.add(m)):
        encoder(random_images(2, 32, 32))
    assert {m for n, m in encoder.named_modules() if n.endswith((".fc1", ".act", ".norm2"))} <= seen


def test_pruned_pooling_has_its_new_kernels() -> None:
    """torch's pruning computes the kernel when the module is called."""
    first, second = (
        randomize(build_backbone("mvitv2_t", **ENCODERS["mvitv2_t"]), seed).eval()
        for seed in (0, 1)
    )
    for encoder in (first, second):
        for n, module in encoder.named_modules():
            if ".pool_" in n:
                prune.l1_unstructured(module, "weight", 0.3)
    first.load_state_dict(second.state_dict())
    images = random_images(2, 32, 32)
    for _ in range(2):
        (out,), (expected,) = first(images), second(images)
        torch.testing.assert_close(out, expected)
        out.sum().backward()


@each_encoder
def test_forward_derivatives(name: str) -> None:
    """Of forward-mode AD, with and without a graph, against the slope between two points."""
    encoder = randomize(build_backbone(name, **ENCODERS[name])).eval().double()
    images = random_images(1, 32, 32).double()
    direction, step = torch.randn_like(images), 1e-5
    ahead, behind = (encoder(images + s * direction)[-1] for s in (step, -step))
    for grad in (False, True):
        with (
            torch.set_grad_enabled(grad),
            sdpa_kernel(SDPBackend.MATH),
            forward_ad.dual_level(),
        ):
            (out,) = encoder(forward_ad.make_dual(images, direction))
            tangent = forward_ad.unpack_dual(out).tangent
        torch.testing.assert_close(tangent, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-5)
