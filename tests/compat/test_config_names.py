"""`mmseg::` in a config's bases finds mmseg's configs in both stacks."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from vit_backbones.compat import config_names
from vit_backbones.compat.repair import Repair, State


@pytest.mark.parametrize(
    "base", ["mmseg::_base_/datasets/ade20k.py", "mmdet::_base_/datasets/coco_instance.py"]
)
def test_configs_of_the_libraries_are_found(base, tmp_path):
    (tmp_path / "config.py").write_text(f"_base_ = ['{base}']\n")
    assert "train_dataloader" in Config.fromfile(tmp_path / "config.py")


def install(monkeypatch, names: dict[str, str]) -> Repair:
    monkeypatch.setattr("mmengine.config.utils.MODULE2PACKAGE", names)
    repair = Repair("test", "", config_names._install)
    repair.run()
    return repair


def test_a_module_under_another_distribution_goes_by_its_own_name(monkeypatch):
    names = dict(json="no-such-distribution", no_such_module="no-such-distribution")
    assert install(monkeypatch, names).state is State.APPLIED
    assert names == dict(json="json", no_such_module="no-such-distribution")


def test_a_module_of_its_own_distribution_stays(monkeypatch):
    names = dict(_pytest="pytest", torch="torch")
    assert install(monkeypatch, names).state is State.NOT_NEEDED
    assert MODULE2PACKAGE["mmdet"] == "mmdet"
