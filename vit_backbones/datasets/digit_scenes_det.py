"""Digit scenes for mmdet. Needs mmdet, so a config imports it by name:
``custom_imports = dict(imports=['vit_backbones', 'vit_backbones.datasets.digit_scenes_det'])``."""

from __future__ import annotations

from typing import Any

from mmdet.datasets import CocoDataset

from ..registry import DATASETS
from .scenes import CLASSES, PALETTE
from .scenes_on_disk import ensure_scenes


@DATASETS.register_module()
class DigitScenesDet(CocoDataset):
    """Digit scenes with boxes and masks, made in ``data_root`` on first use; else a CocoDataset.

    Args:
        split: "train" or "val".
        data_root: Folder of the scenes.
        counts: How many scenes to have of each split, ``dict(train=..., val=...)``, the same for
            all that read the folder. Default: as many as are there, or else
            `scenes_on_disk.COUNTS`.
        kwargs: CocoDataset's.

    Raises:
        UserError: ``data_root`` holds something else, or can't be written.
    """

    METAINFO = dict(classes=CLASSES, palette=PALETTE)

    def __init__(
        self, split: str, data_root: str, counts: dict | None = None, **kwargs: Any
    ) -> None:
        ensure_scenes(data_root, **(counts or {}))
        kwargs.setdefault("ann_file", f"annotations/instances_{split}.json")
        kwargs.setdefault("data_prefix", dict(img=f"img_dir/{split}/"))
        super().__init__(data_root=data_root, **kwargs)
