"""mmcv 2.2 under upstream's mmdet 3.3 and mmsegmentation 1.2.

Both refuse, by an assertion in their ``__init__``, an mmcv that came out after them ("MMCV==2.2.0
is used but incompatible"), although it took nothing away that they use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from .import_hook import around_import
from .repair import Repair, State

LIBRARIES = {"mmdet": "mmdet", "mmseg": "mmsegmentation"}  # import name -> upstream distribution
ACCEPTED = "2.1.0"  # what both were released for


@contextmanager
def _as_accepted_version() -> Iterator[None]:
    import mmcv

    actual, mmcv.__version__ = mmcv.__version__, ACCEPTED
    try:
        yield
    finally:
        mmcv.__version__ = actual


def _version(distribution: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in version(distribution).split(".")[:2])
    except PackageNotFoundError:
        return ()


def _install(repair: Repair) -> None:
    newest = max(_version("mmcv"), _version("mmcv-lite"))
    refusing = [name for name, distribution in LIBRARIES.items() if _version(distribution)]
    if newest[:2] != (2, 2) or not refusing:
        repair.set(State.NOT_NEEDED, "no mmcv 2.2 under upstream's mmdet or mmseg")
        return
    for name in refusing:
        around_import(name, _as_accepted_version)
    repair.set(State.APPLIED, f"{' and '.join(refusing)} accept mmcv 2.2")


REPAIR = Repair(
    name="mmcv 2.2 under mmdet and mmseg",
    why="upstream's mmdet 3.3 and mmsegmentation 1.2 refuse every mmcv from 2.2 on",
    install=_install,
)
