"""Handwritten digits that need no download: the demo data of this package."""

from collections.abc import Sequence

import numpy as np
from mmengine.dataset import BaseDataset

from ..registry import DATASETS


@DATASETS.register_module()
class Digits(BaseDataset):
    """1,797 handwritten digits of 8x8 pixels, as scikit-learn ships them.

    Every fifth image of each class is held out (364 images, 20.3 %), the others train. The split
    follows from the order of the data alone: it is the same on every machine and in every process.

    Images are uint8 (8, 8, 3), white on black, with three equal channels.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998 (its test part).

    Args:
        split: "train" or "val".
        pipeline: transforms of mmcv or mmpretrain; they start from the image, not from a path.
    """

    METAINFO = dict(classes=tuple("0123456789"))
    HOLD_OUT_EVERY = 5

    def __init__(self, split: str, pipeline: Sequence[dict] = (), **kwargs):
        if split not in ("train", "val"):
            raise ValueError(f"Digits has the splits 'train' and 'val', not {split!r}")
        self.split = split
        super().__init__(pipeline=list(pipeline), **kwargs)

    def load_data_list(self) -> list[dict]:
        from sklearn.datasets import load_digits  # a second to import: not before it is needed

        digits = load_digits()
        grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # 17 levels of grey
        images = np.repeat(grey[..., None], 3, axis=-1)
        held_out = self.held_out(digits.target)
        return [
            dict(img=images[i], img_shape=(8, 8), ori_shape=(8, 8), gt_label=int(digits.target[i]))
            for i in np.flatnonzero(held_out if self.split == "val" else ~held_out)
        ]

    @classmethod
    def held_out(cls, labels: np.ndarray) -> np.ndarray:
        """Labels (N,) -> (N,) of bool: every ``HOLD_OUT_EVERY``-th image of each class."""
        mask = np.zeros(len(labels), dtype=bool)
        for label in np.unique(labels):
            mask[np.flatnonzero(labels == label)[:: cls.HOLD_OUT_EVERY]] = True
        return mask
