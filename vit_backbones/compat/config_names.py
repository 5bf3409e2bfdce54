"""``mmseg::`` in configs (``_base_ = ['mmseg::_base_/datasets/ade20k.py']``) under onedl.

mmengine looks for a distribution 'mmsegmentation'; onedl's is named 'onedl-mmsegmentation', so it
says that mmsegmentation is not installed. mmdet and mmpretrain are found, because there the name of
the module, which it tries next, is the same.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec

from .repair import Repair, State


def _install(repair: Repair) -> None:
    from mmengine.config.utils import MODULE2PACKAGE  # later: mmengine may be missing

    renamed = []
    for module, package in MODULE2PACKAGE.items():
        if module != package and find_spec(module) and not _is_distribution(package):
            MODULE2PACKAGE[module] = module
            renamed.append(f"{module}::")
    if renamed:
        repair.set(State.APPLIED, f"{', '.join(renamed)} finds the installed package's configs")
    else:
        repair.set(State.NOT_NEEDED, "no library under another distribution's name")


def _is_distribution(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


REPAIR = Repair(
    name="mmseg:: in configs",
    why="mmengine does not find the configs of a library that is installed under another name",
    install=_install,
)
