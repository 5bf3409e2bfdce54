"""mmengine's DeepSpeedStrategy and a deepspeed without 1-bit optimizers, seen by stand-ins."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from mmengine._strategy import deepspeed as strategy
from mmengine.registry import OPTIMIZERS

from vit_backbones.compat import State, deepspeed
from vit_backbones.compat.repair import Repair


def repaired(monkeypatch, *installed: str) -> Repair:
    monkeypatch.setattr(strategy, "register_deepspeed_optimizers", "mmengine's")
    monkeypatch.setattr(deepspeed, "find_spec", lambda name: name if name in installed else None)
    repair = Repair("r", "w", deepspeed._install)
    repair.run()
    return repair


@pytest.mark.parametrize("installed", [(), ("deepspeed", deepspeed.ONE_BIT)])
def test_it_stays_away_where_it_is_not_needed(installed, monkeypatch):
    assert repaired(monkeypatch, *installed).state is State.NOT_NEEDED
    assert strategy.register_deepspeed_optimizers == "mmengine's"


def test_what_deepspeed_has_is_registered(monkeypatch):
    names = [name for own in deepspeed.OPTIMIZERS.values() for name in own]
    for module, own in deepspeed.OPTIMIZERS.items():
        stand_in = ModuleType(module)
        vars(stand_in).update({name: type(name, (torch.optim.SGD,), {}) for name in own})
        monkeypatch.setitem(sys.modules, module, stand_in)
    for parent in ("deepspeed", "deepspeed.ops"):
        monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
    monkeypatch.setattr(OPTIMIZERS, "_module_dict", dict(OPTIMIZERS._module_dict))
    assert repaired(monkeypatch, "deepspeed").state is State.APPLIED
    assert strategy.register_deepspeed_optimizers() == names
    assert all(issubclass(OPTIMIZERS.get(name), torch.optim.SGD) for name in names)
