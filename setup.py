"""Packaging: the package itself, and configs/ and tools/ inside it under ``.mim/``."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
VERSION = re.search(
    r'^__version__ = "(.+)"', (ROOT / "vit_backbones/version.py").read_text(), re.MULTILINE
).group(1)

# Both stacks install the same import packages (mmengine, mmcv, mmpretrain, mmdet, mmseg), so
# neither can be a hard requirement. ftfy and regex: mmseg imports them without declaring them.
ONEDL = [
    "onedl-mmengine>=0.10.12",
    "onedl-mmcv>=2.3.6",
    "onedl-mmpretrain>=1.3.6",
    "onedl-mmdetection>=3.5.1",
    "onedl-mmsegmentation>=1.4.2",
    "ftfy",
    "regex",
]
OPENMMLAB = [
    "mmengine>=0.10.7",
    "mmcv-lite>=2.1.0,<2.2",
    "mmpretrain>=1.2.0",
    "mmdet>=3.3.0",
    "mmsegmentation>=1.2.2",
    "ftfy",
    "regex",
]
EXPORT = ["onnx", "onnxscript", "onnxruntime"]  # tools/export.py --format onnx
TESTS = [
    "pytest",
    "pytest-xdist",
    "hypothesis",
    "ruff",
    "setuptools>=70.1",  # tests/test_packaging.py builds a wheel
    # the independent implementations that our encoders are compared with
    "timm",
    "transformers",
    *EXPORT,
]


class BuildWithMim(build_py):
    """Copy configs/ and tools/ into the wheel as ``vit_backbones/.mim/``, as OpenMMLab does.

    An editable install has the checkout itself, so it needs (and gets) no copy.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        mim = Path(self.build_lib) / "vit_backbones" / ".mim"
        for folder in ("configs", "tools"):
            shutil.copytree(
                ROOT / folder,
                mim / folder,
                ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
                dirs_exist_ok=True,
            )


setup(
    name="vit_backbones",
    version=VERSION,
    description="ViT, Swin and MViT encoders for OpenMMLab, on today's PyTorch",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["vit_backbones", "vit_backbones.*"]),
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.6",
        "torchvision>=0.21",
        "numpy",
        "pillow",
        "safetensors",
        "huggingface_hub",
        "rich",
        "matplotlib",
        "scikit-learn",
    ],
    extras_require={"onedl": ONEDL, "openmmlab": OPENMMLAB, "export": EXPORT, "tests": TESTS},
    cmdclass={"build_py": BuildWithMim},
)
