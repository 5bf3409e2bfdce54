"""Files that are either complete or absent, whenever the process is killed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from ..errors import UserError

ATOMIC = "vit_backbones.atomic"
PARTIAL_SUFFIX = ".partial"


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write ``data`` under a temporary name in the same folder, flush it to the disk, then rename.

    A reader sees the old file or the new one, never a part. Killed half-way, the process leaves at
    most a file ``NAME.partial``, which nothing reads and `remove_partial_files` clears away.

    Raises:
        UserError: The file cannot be written (disk full, no permission); the old one is untouched.
    """
    path = Path(path)
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"cannot write {path}: {error.strerror}. What was there before is still intact; "
            "free some space or choose another folder with --work-dir"
        ) from error


def remove_partial_files(folder: str | Path) -> None:
    """Delete what a process killed while writing has left in ``folder``."""
    for partial in Path(folder).glob("*" + PARTIAL_SUFFIX):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def remove_folder(path: str | Path) -> None:
    """Delete a folder, if it exists; killed half-way, the process leaves a ``NAME.partial``."""
    path = Path(path)
    if path.is_dir() and path.suffix != PARTIAL_SUFFIX:
        partial = path.with_name(path.name + PARTIAL_SUFFIX)
        shutil.rmtree(partial, ignore_errors=True)
        path = path.rename(partial)
    shutil.rmtree(path, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """The rename itself is safe from a power cut only when the folder is on the disk too."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class AtomicBackend(LocalBackend):
    """mmengine's local files, written atomically: ``backend_args=dict(backend=ATOMIC)``."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_atomically(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        write_atomically(filepath, obj.encode(encoding))

    def rmtree(self, dir_path: str | Path) -> None:
        remove_folder(dir_path)


register_backend(ATOMIC, AtomicBackend, force=True)
