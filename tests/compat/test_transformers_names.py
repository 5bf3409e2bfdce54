"""Names that transformers 5 moved or dropped are put back, and only where they are missing."""

import sys
from types import ModuleType

import pytest
import torch

from vit_backbones.compat import transformers_names
from vit_backbones.compat.repair import State


@pytest.fixture
def fake_transformers(monkeypatch):
    """A transformers in which only ``prune_linear_layer`` has moved to pytorch_utils."""
    package, utils, modeling = (
        ModuleType(name)
        for name in ("transformers", "transformers.pytorch_utils", "transformers.modeling_utils")
    )
    for names in transformers_names.EXPECTED.values():
        for name, home in names.items():
            setattr(modeling, name, f"own {name}")
            setattr(utils if home.endswith("pytorch_utils") else package, name, f"moved {name}")
    utils.find_pruneable_heads_and_indices = "own find_pruneable_heads_and_indices"
    for module in (package, utils, modeling):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(transformers_names.REPAIR, "state", State.WAITING)
    return modeling


def put_back():
    with transformers_names._names_put_back():
        pass
    return transformers_names.REPAIR


def test_a_transformers_that_has_every_name_is_left_alone(fake_transformers):
    before = dict(vars(fake_transformers))
    assert put_back().state is State.NOT_NEEDED
    assert vars(fake_transformers) == before


def test_only_the_missing_name_is_put_back(fake_transformers):
    del fake_transformers.prune_linear_layer
    assert put_back().state is State.APPLIED
    assert fake_transformers.prune_linear_layer == "moved prune_linear_layer"
    assert fake_transformers.GenerationMixin == "own GenerationMixin"


def test_a_name_that_is_nowhere_stays_missing(fake_transformers):
    del fake_transformers.PretrainedConfig, sys.modules["transformers"].PretrainedConfig
    put_back()
    assert not hasattr(fake_transformers, "PretrainedConfig")


def test_find_pruneable_heads_and_indices():
    # 4 heads of 2 rows; head 1 went before, so heads 0, 2, 3 hold rows 0-1, 2-3, 4-5
    heads, rows = transformers_names.find_pruneable_heads_and_indices([1, 2], 4, 2, {1})
    assert heads == {2}
    assert rows.tolist() == [0, 1, 4, 5]
    assert rows.dtype == torch.long


def test_a_broken_transformers_does_not_stop_the_libraries(fake_transformers, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers.modeling_utils", None)
    repair = put_back()
    assert "transformers cannot be imported" in repair.detail
