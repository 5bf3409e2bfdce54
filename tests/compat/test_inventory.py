"""Which stack is installed, what is wrong with it, and the command that mends it."""

from types import SimpleNamespace

import pytest

from vit_backbones.compat import inventory

ONEDL = {
    "onedl-mmengine": "0.10.12",
    "onedl_mmcv": "2.3.6",  # as some wheels spell it
    "onedl-mmdetection": "3.5.1",
}
UPSTREAM = {"mmengine": "0.10.7", "mmcv-lite": "2.1.0", "mmsegmentation": "1.2.2"}


@pytest.fixture
def install(monkeypatch):
    def install(**versions):
        dists = [SimpleNamespace(metadata={"Name": n}, version=v) for n, v in versions.items()]
        monkeypatch.setattr(inventory, "distributions", lambda: dists)
        return inventory.take_inventory()

    return install


@pytest.mark.parametrize(("stack", "versions"), [("onedl", ONEDL), ("openmmlab", UPSTREAM)])
def test_a_part_of_one_stack_is_fine(install, stack, versions):
    found = install(**versions, numpy="2.2.6")
    assert found.stacks == [stack]
    assert found.problem == ""


def test_a_missing_library_comes_from_the_stack_that_is_there(install):
    assert install(**UPSTREAM).install("mmdet") == "pip install mmdet"
    assert install(**ONEDL).install("mmseg") == "pip install onedl-mmsegmentation"
    assert install(**UPSTREAM).install("mmseg") == "pip install mmsegmentation ftfy regex"


def test_a_mix_is_wrong_and_the_command_leaves_one_stack(install):
    problem = install(**{**ONEDL, "mmdet": "3.3.0"}).problem
    assert problem.startswith("There are two stacks, onedl and openmmlab")
    before, after = problem.split(" && ")
    assert before.endswith("pip uninstall -y onedl-mmengine onedl-mmcv onedl-mmdetection mmdet")
    assert after.startswith("pip install onedl-mmengine onedl-mmcv onedl-mmpretrain")


def test_two_mmcv_over_each_other_are_wrong(install):
    problem = install(**UPSTREAM, mmcv="2.1.0").problem
    assert problem.startswith("There are mmcv-lite and mmcv")


def test_nothing_installed_asks_for_onedl(install):
    problem = install(numpy="2.2.6").problem
    assert problem.startswith("There is no mmengine, no mmcv, no mmpretrain, mmdet or mmseg: ")
    assert "pip install onedl-mmengine" in problem


def test_a_foundation_without_any_library_is_not_enough(install):
    assert "no mmpretrain" in install(mmengine="0.10.7", mmcv="2.1.0").problem


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("libGL.so.1: cannot open shared object file"), "apt-get install -y libgl1"),
        (RuntimeError("operator torchvision::nms does not exist"), "constraints.txt"),
        (ImportError("/x/mmcv/_ext.so: undefined symbol: _ZN"), "compiled for another torch"),
        (ModuleNotFoundError("No module named 'ftfy'", name="ftfy"), "pip install ftfy"),
        (ValueError("something else"), ""),
    ],
)
def test_remedies(error, words):
    remedy = inventory.remedy(error)
    assert words in remedy
    assert bool(remedy) == bool(words)


def test_compiling_mmcv_keeps_its_version_and_skips_the_cached_wheel(install):
    install(**UPSTREAM)
    command = inventory.how_to_compile_mmcv()
    assert "pip uninstall -y mmcv-lite" in command
    assert command.endswith("--no-cache-dir --no-binary mmcv mmcv==2.1.0")
