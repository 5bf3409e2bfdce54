"""Whatever a run puts around a model, the hooks look at the model."""

from __future__ import annotations

from mmengine.model import BaseModel, BaseTTAModel
from torch import nn

from vit_backbones.engine import unwrapped


class Merging(BaseTTAModel):
    """Test-time augmentation, which is inside the wrapper of several processes."""

    def merge_preds(self, data_samples_list):
        raise NotImplementedError


class Model(BaseModel):
    def forward(self, inputs, data_samples=None, mode="tensor"):
        raise NotImplementedError


def test_the_model_in_all_its_wrappers():
    model = Model()
    assert unwrapped(model) is model
    assert unwrapped(nn.DataParallel(model)) is model
    assert unwrapped(nn.DataParallel(Merging(model))) is model
