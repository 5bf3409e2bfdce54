"""In which order the channels of an image lie, where a pipeline starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..registry import type_name


def starts_from_rgb(pipeline: Iterable[Mapping], to_rgb: bool) -> bool:
    """Whether a pipeline starts from RGB; else from BGR, as OpenMMLab reads files.

    Data sets that hold pixels in place of files, like CIFAR-10, give what the model takes: RGB,
    unless its preprocessor swaps the channels.

    Args:
        pipeline: The data set's transforms, as in a config.
        to_rgb: What the model's data preprocessor has under this name.
    """
    return not reads_files(pipeline) and not to_rgb


def reads_files(pipeline: Iterable[Mapping]) -> bool:
    """Whether a pipeline starts from a file, not from pixels."""
    return any("LoadImage" in type_name(transform) for transform in pipeline)
