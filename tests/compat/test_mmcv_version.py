"""Upstream's mmdet and mmseg accept mmcv 2.2, which then still says that it is 2.2."""

import sys
from types import ModuleType

import pytest

from vit_backbones.compat import mmcv_version
from vit_backbones.compat.repair import Repair, State


@pytest.fixture
def libraries(tmp_path, monkeypatch):
    """mmcv 2.2.0 and a library that refuses it; both under names of their own."""
    mmcv = ModuleType("mmcv")
    mmcv.__version__ = "2.2.0"
    monkeypatch.setitem(sys.modules, "mmcv", mmcv)
    (tmp_path / "refusing_library.py").write_text(
        "import mmcv\nassert mmcv.__version__ < '2.2.0', 'MMCV==2.2.0 is used but incompatible'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "refusing_library", raising=False)
    monkeypatch.setattr(mmcv_version, "LIBRARIES", {"refusing_library": "refusing"})
    return mmcv


def install(monkeypatch, **versions):
    monkeypatch.setattr(
        mmcv_version,
        "_version",
        lambda name: tuple(map(int, versions.get(name, "").split("."))) if name in versions else (),
    )
    repair = Repair("test", "", mmcv_version._install)
    repair.run()
    return repair


def test_without_the_repair_the_library_refuses(libraries):
    with pytest.raises(AssertionError, match="incompatible"):
        import refusing_library  # noqa: F401


def test_with_the_repair_it_is_imported(libraries, monkeypatch):
    assert install(monkeypatch, mmcv="2.2", refusing="3.3").state is State.APPLIED
    import refusing_library  # noqa: F401

    assert libraries.__version__ == "2.2.0"


@pytest.mark.parametrize("versions", [{"mmcv": "2.1", "refusing": "3.3"}, {"mmcv": "2.2"}])
def test_other_combinations_need_no_repair(libraries, monkeypatch, versions):
    assert install(monkeypatch, **versions).state is State.NOT_NEEDED
    with pytest.raises(AssertionError, match="incompatible"):
        import refusing_library  # noqa: F401
