"""Files that are either complete or absent, whenever the process is killed."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mmengine.fileio import LocalBackend, register_backend

from .errors import UserError

try:
    import fcntl
except ImportError:  # no POSIX system
    fcntl = None

if TYPE_CHECKING:  # slow to import
    from matplotlib.figure import Figure

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
    make_folder(path.parent)
    with explained(path):
        try:
            with open(partial, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
            _sync_folder(path.parent)
        except BaseException:  # Ctrl-C, too
            with suppress(OSError):  # the first error is the one to tell
                partial.unlink(missing_ok=True)
            raise


def write_json(path: str | Path, content: Any) -> None:
    """``content`` as JSON, atomically; what JSON doesn't know becomes a float."""
    write_atomically(path, (json.dumps(content, indent=1, default=float) + "\n").encode())


def write_figure(path: str | Path, figure: Figure, dpi: int | None = None) -> None:
    """A picture as PNG, atomically."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=dpi or "figure")
    write_atomically(path, picture.getbuffer())


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """While ``path`` is written: an error of the operating system becomes a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}. What was there before is still "
            "intact; free some space or choose another folder"
        ) from error


def make_folder(path: str | Path) -> Path:
    """Make a folder and those above it, where they are missing.

    Raises:
        UserError: It can't be made (a file is in its place, no permission).
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        file = next((p for p in (path, *path.parents) if os.path.isfile(p)), None)
        reason = error.strerror if file is None else f"{file} is a file"
        raise UserError(f"cannot make the folder {path}: {reason}; choose another one") from error
    return path


@contextmanager
def ended_in_order() -> Iterator[None]:
    """While this runs SIGTERM ends the process as an exception does, so that it can clean up."""
    before = signal.getsignal(signal.SIGTERM)
    in_main = threading.current_thread() is threading.main_thread()  # which alone gets signals
    if not in_main or before in (None, signal.SIG_IGN):
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def sole_run(folder: str | Path) -> Iterator[None]:
    """While one run writes into ``folder`` no other may: the two would replace and clear away each
    other's checkpoints. The system takes the lock from a process that dies.

    Raises:
        UserError: Another run, of this or another machine, has it.
    """
    if fcntl is None:
        yield
        return
    path = make_folder(folder) / ".running"
    with explained(path):
        file = _locked(path)
    with file:
        with explained(path):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path) -> IO[str]:
    """The file, open and locked; another process may unlink it before it is."""
    while True:
        file = open(path, "a+")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            owner = file.read().strip() or "another process"
            file.close()
            raise UserError(
                f"another run ({owner}) writes into {path.parent}. Wait for it or end it, or "
                "choose another folder with --work-dir"
            ) from error
        except OSError:  # a file system without locks
            return file
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()


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
