"""What pip installs: the package with configs and tools inside it, and the README's commands."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = ("configs", "tools")
FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "constraints.txt")

CALL_BACKEND = (
    "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"
)


def build(kind: str, source: Path, out: Path) -> Path:
    """Build an ``sdist`` or ``wheel`` as pip does, with the setuptools that is installed."""
    command = [sys.executable, "-c", CALL_BACKEND, f"build_{kind}", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.tar.gz" if kind == "sdist" else "*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel that comes out of the source distribution of this tree."""
    source, out, unpacked = (tmp_path_factory.mktemp(name) for name in ("source", "out", "sdist"))
    for name in ("vit_backbones", *SHIPPED):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    with tarfile.open(build("sdist", source, out)) as sdist:
        sdist.extractall(unpacked, filter="data")
    return zipfile.ZipFile(build("wheel", next(unpacked.iterdir()), out))


def files(folder: str) -> set[Path]:
    paths = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file()}
    return {path for path in paths if "__pycache__" not in path.parts}


def test_the_wheel_holds_every_module_config_and_tool(wheel):
    shipped = {Path("vit_backbones/.mim") / path for folder in SHIPPED for path in files(folder)}
    names = {Path(name) for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == files("vit_backbones") | shipped
    assert Path("vit_backbones/.mim/configs/vit_digits.py") in names
    assert Path("vit_backbones/.mim/tools/train.py") in names


def test_the_wheel_is_pure_python_with_both_stacks_as_extras(wheel):
    info = {Path(n).name: n for n in wheel.namelist() if ".dist-info/" in n}
    assert "Root-Is-Purelib: true" in wheel.read(info["WHEEL"]).decode()
    assert "LICENSE" in info
    metadata = message_from_string(wheel.read(info["METADATA"]).decode())
    assert metadata["Requires-Python"] == ">=3.10"
    assert {"onedl", "openmmlab", "tests"} <= set(metadata.get_all("Provides-Extra"))
    hard = [r for r in metadata.get_all("Requires-Dist") if "extra ==" not in r]
    assert not [r for r in hard if "mm" in r]  # neither stack is a hard requirement


def test_ci_runs_the_readmes_test_command():
    command = (ROOT / ".ci/run").read_text().splitlines()[-1]
    assert "pytest" in command
    assert f"\n{command}\n" in (ROOT / "README.md").read_text()


def test_each_stack_is_pinned():
    pinned = {
        line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().split("\n")
    }
    from vit_backbones.compat.inventory import STACKS

    for libraries in STACKS.values():
        for distributions in libraries.values():
            assert distributions[0] in pinned
