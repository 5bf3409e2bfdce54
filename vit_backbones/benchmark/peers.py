"""Who else has our encoders: one table, type of encoder -> library -> builder of the same network.

A builder takes our architecture and returns the library's own implementation of it with random
weights, so any preset and any setting that both know can be compared and nothing is downloaded.
Position parameters are held for the size that is measured, by them and by us: nobody interpolates.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable
from typing import Any

from torch import nn

from ..backbones.base import Backbone
from .peer import NotOffered, Peer
from .peer_mvit import mmpretrain_mvit, timm_mvit, torchvision_mvit
from .peer_swin import mmdet_swin, mmpretrain_swin, timm_swin, torchvision_swin, transformers_swin
from .peer_vit import mmpretrain_vit, timm_vit, torchvision_vit, transformers_vit
from .rounds import describe_failure

Builder = Callable[[Any, bool], Peer]  # architecture, maps of all stages

PEERS: dict[str, dict[str, Builder]] = {
    "VisionTransformer": {
        "timm": timm_vit,
        "torchvision": torchvision_vit,
        "mmpretrain": mmpretrain_vit,
        "transformers": transformers_vit,
    },
    "SwinTransformer": {
        "timm": timm_swin,
        "torchvision": torchvision_swin,
        "mmpretrain": mmpretrain_swin,
        "mmdet": mmdet_swin,
        "transformers": transformers_swin,
    },
    "MViT": {
        "timm": timm_mvit,
        "torchvision": torchvision_mvit,
        "mmpretrain": mmpretrain_mvit,
    },
}
LIBRARIES = ("timm", "torchvision", "mmpretrain", "mmdet", "transformers")


def build_peer(library: str, model: Backbone, maps: bool) -> nn.Module:
    """The library's own network of ``model``'s architecture: images in, a tuple of tensors out.

    Raises:
        NotOffered: It is not installed or does not import, has no such encoder, or refuses this
            one; the message says which.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # some print what they lack
            importlib.import_module(library)
            if library.startswith("mm"):
                importlib.import_module(f"{library}.models")
    except Exception as error:
        raise NotOffered(f"does not import ({describe_failure(error)})") from error
    builder = PEERS[type(model).__name__].get(library)
    if builder is None:
        raise NotOffered(f"has no {type(model).__name__}")
    try:
        return builder(model.arch, maps)
    except NotOffered:
        raise
    except Exception as error:
        raise NotOffered(f"can't build it ({describe_failure(error)})") from error
