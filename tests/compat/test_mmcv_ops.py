"""The stand-in for mmcv._ext is there exactly where no compiled one is."""

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


def test_without_mmcv_the_error_is_about_mmcv(run):
    done = run("import vit_backbones; import mmcv._ext", hidden=("mmcv",))
    assert "mmcv" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError")


def test_repairing_twice_changes_nothing(run):
    done = run(
        "import sys, vit_backbones; before = list(sys.meta_path);"
        "vit_backbones.compat.repair(); assert sys.meta_path == before"
    )
    assert done.returncode == 0, done.stderr
