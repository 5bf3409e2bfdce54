"""The code that loads a converted file, by target."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...backbones.base import Backbone
from ...backbones.out_types import resolve_out_type
from .common import arguments, non_defaults
from .huggingface import huggingface_code
from .openmmlab import mmdet_code, mmpretrain_code
from .timm import timm_code
from .torchvision import torchvision_code


def native_code(encoder: Backbone, path: str) -> str:
    """Code that makes ``model``, loaded from ``path``, and its ``features`` of ``images``."""
    kind = type(encoder).__name__
    options = {}
    if len(encoder.out_indices) > 1 or encoder.out_indices[-1] != _last(encoder):
        options["out_indices"] = tuple(encoder.out_indices)
    if "out_type" in vars(encoder):
        default = resolve_out_type(None, encoder.arch.cls_token)
        if encoder.out_type != default:
            options["out_type"] = encoder.out_type
    arch = f"arch=dict({arguments(non_defaults(encoder.arch))})"
    words = ", ".join([arch, *([arguments(options)] if options else [])])
    return "\n".join(
        [
            "import vit_backbones",
            "",
            f"model = vit_backbones.{kind}({words}).eval()",
            f"vit_backbones.load_checkpoint(model, {path!r})",
            "features = model(images)[-1]",
        ]
    )


def _last(encoder: Backbone) -> int:
    return len(getattr(encoder.arch, "depths", range(encoder.num_layers))) - 1


TARGETS: dict[str, Callable[[Backbone, str], str]] = {
    "native": native_code,
    "timm": timm_code,
    "mmpretrain": mmpretrain_code,
    "mmdet": mmdet_code,
    "torchvision": torchvision_code,
    "huggingface": huggingface_code,
}


def loading_code(target: str, encoder: Backbone, path: str, names: Iterable[str] = ()) -> str:
    """Python code that makes ``model`` with the weights of a converted file, and ``features`` of
    ``images``, the output after the last block.

    Args:
        target: One of :data:`TARGETS`.
        encoder: Ours; its weights don't matter, so it may be on the meta device.
        path: Of the file; of the folder for 'huggingface'.
        names: Of the weights in it, where they are known.

    Raises:
        UserError: That library has no model that computes the same.
    """
    if target == "timm":
        return timm_code(encoder, path, names)
    return TARGETS[target](encoder, path)
