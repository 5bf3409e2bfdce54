"""Importing vit_backbones needs none of the three libraries, which need it to be imported.

That they can be imported after it is what test_report.py sees.
"""

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


def test_importing_vit_backbones_needs_and_imports_none_of_them(run):
    done = run(
        "import vit_backbones; print(vit_backbones.compat.transformers_names.REPAIR.state.value)",
        hidden=(*LIBRARIES, "transformers", "timm"),
    )
    assert done.stdout.endswith("not needed\n"), done.stderr


def test_without_mmengine_the_message_says_what_to_install(run):
    done = run("import vit_backbones", hidden=("mmengine",))
    last_line = done.stderr.splitlines()[-1]
    assert done.returncode != 0
    assert "mmengine" in last_line
    assert "pip install" in last_line
