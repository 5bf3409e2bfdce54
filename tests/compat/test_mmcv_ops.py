"""The stand-in for mmcv._ext is there exactly where no compiled one is."""

import sys

from vit_backbones import compat

SHOW = "import mmcv._ext; print(mmcv._ext.__spec__.name, mmcv._ext.__file__)"


def test_without_compiled_ops_the_stand_in_is_loaded(run):
    done = run(
        "import vit_backbones, importlib.util;"
        "print(importlib.util.find_spec('mmcv._ext').name);"  # what mmengine asks
        f"{SHOW}; print(vit_backbones.compat.mmcv_ops.REPAIR.state.value)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["mmcv._ext", "mmcv._ext"]
    assert "mmcv_ext.py\napplied" in done.stdout


def test_where_compiled_ops_are_the_stand_in_stays_away(run, tmp_path):
    (tmp_path / "_ext.py").write_text("nms = 'compiled'")
    done = run(
        f"import vit_backbones, mmcv; mmcv.__path__.append({str(tmp_path)!r}); {SHOW};"
        "print(mmcv._ext.nms, vit_backbones.compat.mmcv_ops.REPAIR.state.value)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"mmcv._ext {tmp_path / '_ext.py'}\ncompiled waiting\n"


def test_repairing_twice_changes_nothing():
    before = list(sys.meta_path)
    states = [(item.state, item.detail) for item in compat.repair()]
    assert [(item.state, item.detail) for item in compat.repair()] == states
    assert sys.meta_path == before
