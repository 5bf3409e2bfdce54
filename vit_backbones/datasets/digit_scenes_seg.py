"""Digit scenes for mmseg. Needs mmseg, so a config imports it by name:
``custom_imports = dict(imports=['vit_backbones', 'vit_backbones.datasets.digit_scenes_seg'])``."""

from __future__ import annotations

from typing import Any

from mmseg.datasets import BaseSegDataset

from ..registry import DATASETS
from .scenes import CLASSES, PALETTE
from .scenes_on_disk import ensure_scenes


@DATASETS.register_module()
class DigitScenesSeg(BaseSegDataset):
    """Digit scenes with a class for each pixel, made in ``data_root`` on first use; else a
    BaseSegDataset. Class 0 is the background, 1 to 10 are the digits 0 to 9.

    Args:
        split: "train" or "val".
        data_root: Folder of the scenes.
        counts: How many scenes to have of each split, ``dict(train=..., val=...)``, the same for
            all that read the folder. Default: as many as are there, or else
            `scenes_on_disk.COUNTS`.
        kwargs: BaseSegDataset's.

    Raises:
        UserError: ``data_root`` holds something else, or can't be written.
    """

    METAINFO = dict(classes=("background", *CLASSES), palette=[(0, 0, 0), *PALETTE])

    def __init__(
        self, split: str, data_root: str, counts: dict | None = None, **kwargs: Any
    ) -> None:
        ensure_scenes(data_root, **(counts or {}))
        kwargs.setdefault(
            "data_prefix", dict(img_path=f"img_dir/{split}", seg_map_path=f"ann_dir/{split}")
        )
        super().__init__(data_root=data_root, img_suffix=".png", seg_map_suffix=".png", **kwargs)
