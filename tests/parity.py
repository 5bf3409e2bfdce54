"""Comparing an encoder with an independent implementation that has the same random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vit_backbones.checkpoint.recognition import read_as

Weights = Mapping[str, Tensor]


def randomize(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random values in every parameter, norms, LayerScale, biases and position tables included: at
    their initial values mistakes would hide."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("bias"):
            value = 0.3 * noise
        elif parameter.ndim <= 1:  # factors, per channel or one for all
            value = 1 + 0.3 * noise
        elif parameter.shape[0] == 1:  # tokens and position embeddings
            value = 0.5 * noise
        else:
            value = noise / (parameter.numel() / parameter.shape[0]) ** 0.5
        with torch.no_grad():
            parameter.copy_(value)
    return model


def random_images(batch: int, height: int, width: int, channels: int = 3) -> Tensor:
    return torch.randn(
        batch, channels, height, width, generator=torch.Generator().manual_seed(height * width)
    )


def relative_error(ours: Tensor, reference: Tensor) -> float:
    """Largest absolute difference over the largest absolute value of the reference."""
    assert ours.shape == reference.shape, f"{tuple(ours.shape)} is not {tuple(reference.shape)}"
    return ((ours - reference).abs().max() / reference.abs().max()).item()


def by_our_names(model: nn.Module, weights: Weights) -> Weights:
    """A peer's weights by the names of the model's parameters and in their shapes, through the
    layout that recognises them. That only renames, joins, cuts and reorders, so that it translates
    gradients, too. Whether it is right, the peer's outputs tell."""
    reading = read_as(type(model).__name__, model.state_dict(), dict(weights))
    found = reading.translate(weights)
    return {name: _in_shape(name, found[name], own) for name, own in model.named_parameters()}


def _in_shape(name: str, value: Tensor, own: Tensor) -> Tensor:
    if name == "pos_embed":  # tables without batch, a superfluous class position in front
        return value.reshape(1, -1, own.shape[2])[:, -own.shape[1] :]
    return value.reshape(own.shape)


def assert_parity(
    model: nn.Module,
    peer: nn.Module,
    run_peer: Callable[[Tensor], tuple[Tensor, ...]],
    images: Tensor,
    translate: Callable[[nn.Module, Weights], Weights] = by_our_names,
    gradients: bool = True,
    without_gradient: tuple[str, ...] = (),
) -> None:
    """Same weights and images, same outputs (1e-5) and same gradients (1e-4) in float32, relative
    to the largest value.

    Args:
        model: Ours.
        peer: The other, with the weights.
        run_peer: Images -> outputs of the peer, in the order and shapes of ours.
        translate: The model, the peer's weights or gradients by its names -> by ours.
        images: (B, 3, H, W), B > 1.
        gradients: Compare gradients, too.
        without_gradient: Parameters whose gradients can't be compared: the peer holds them at
            another size.
    """
    for module in (model, peer):
        module.eval()
        module.zero_grad()
    model.load_state_dict(translate(model, peer.state_dict()))
    ours_in, peer_in = images.clone().requires_grad_(), images.clone().requires_grad_()
    ours, theirs = model(ours_in), run_peer(peer_in)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert_alive(b)
        assert relative_error(a, b) < 1e-5
    if not gradients:
        return
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(out.shape, generator=generator) for out in ours]
    for outputs in (ours, theirs):
        sum((out * w).sum() for out, w in zip(outputs, weights, strict=True)).backward()
    assert relative_error(ours_in.grad, peer_in.grad) < 1e-4, "gradient of the images"
    expected = translate(
        model,
        {k: torch.zeros_like(p) if p.grad is None else p.grad for k, p in peer.named_parameters()}
        | {k: torch.zeros_like(b) for k, b in peer.named_buffers()},
    )
    trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
    assert trained, "no parameter has a gradient"
    for name, parameter in trained.items():
        if name not in without_gradient:
            assert expected[name].any(), f"the peer has no gradient of {name}"
            assert relative_error(parameter.grad, expected[name]) < 1e-4, f"gradient of {name}"


def assert_alive(out: Tensor) -> None:
    """A comparison means something only where the output depends on the image."""
    assert out.isfinite().all()
    assert (out[0] - out[1]).abs().max() > 0.05 * out.abs().max(), "same output for every image"
