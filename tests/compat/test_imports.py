"""Importing vit_backbones first is enough for the three libraries, and costs none of them."""

LIBRARIES = ("mmpretrain", "mmdet", "mmseg")

IMPORT_EACH = """
import importlib
for library in ("mmpretrain", "mmdet", "mmseg"):
    try:
        importlib.import_module(f"{library}.models")
        print(library, "imported")
    except Exception as error:
        print(library, "failed")
"""


def test_without_the_repairs_the_libraries_cannot_be_imported(run):
    done = run(IMPORT_EACH)
    for library in ("mmpretrain", "mmdet"):  # mmseg gets by without some of its parts
        assert f"{library} failed" in done.stdout


def test_with_vit_backbones_first_they_can(run):
    done = run("import vit_backbones" + IMPORT_EACH)
    for library in LIBRARIES:
        assert f"{library} imported" in done.stdout, done.stderr


def test_a_library_may_be_missing(run):
    done = run("import vit_backbones, mmpretrain.models", hidden=("mmdet", "mmseg"))
    assert done.returncode == 0, done.stderr


def test_importing_vit_backbones_needs_and_imports_none_of_them(run):
    done = run("import vit_backbones", hidden=(*LIBRARIES, "transformers", "timm"))
    assert done.returncode == 0, done.stderr


def test_without_mmengine_the_message_says_what_to_install(run):
    done = run("import vit_backbones", hidden=("mmengine",))
    last_line = done.stderr.splitlines()[-1]
    assert done.returncode != 0
    assert "mmengine" in last_line
    assert "pip install" in last_line
