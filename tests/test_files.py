"""Files are whole or absent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vit_backbones import UserError, files
from vit_backbones.files import make_folder, remove_partial_files, write_atomically


def test_replaces_a_file_and_makes_its_folder(tmp_path):
    path = tmp_path / "new" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["file"]


def test_flushes_before_it_renames(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: order.append("flush"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *names: order.append("rename") or replace(*names))
    write_atomically(tmp_path / "file", b"one")
    assert order == ["flush", "rename", "flush"]  # the data, then the folder


def test_a_full_disk_is_one_message_and_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    message = r"cannot write .*file: No space left on device.*intact; .* choose another folder$"
    with pytest.raises(UserError, match=message):
        write_atomically(path, b"two")
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["file"]


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"one")
    assert not os.listdir(tmp_path)


def test_a_folder_that_cannot_be_is_one_message(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"cannot make the folder .*file is a file; choose"):
            make_folder(path)
        with pytest.raises(UserError, match="cannot make the folder"):
            write_atomically(path / "name", b"one")
    with pytest.raises(UserError, match=r"cannot make the folder .*null"):
        make_folder("/dev/null/x")
    with pytest.raises(UserError, match=r"cannot write .*: Is a directory"):
        write_atomically(tmp_path, b"one")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_leftovers_are_cleared_and_nothing_else(tmp_path):
    for name in ("a.pth.partial", "a.pth", "partial"):
        (tmp_path / name).touch()
    remove_partial_files(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a.pth", "partial"]


def test_a_folder_is_absent_before_its_files_are(tmp_path, monkeypatch):
    """A kill while it is deleted leaves something that nobody takes for the folder."""
    folder = tmp_path / "epoch_1.pth"
    folder.mkdir()
    (folder / "part").touch()
    monkeypatch.setattr(files.shutil, "rmtree", lambda path, ignore_errors: None)
    files.remove_folder(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_1.pth.partial"]
    monkeypatch.undo()
    files.remove_partial_files(tmp_path)
    assert not list(tmp_path.iterdir())


HOLD = """
import sys, time
from vit_backbones.files import sole_run
with sole_run(sys.argv[1]):
    print("running", flush=True)
    time.sleep(600)
"""


def test_one_run_at_a_time_writes_into_a_folder(tmp_path):
    """A killed one leaves no lock behind."""
    other = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"running\n"
        message = rf"another run \(process {other.pid} on .*\) writes into .*--work-dir"
        with pytest.raises(UserError, match=message), files.sole_run(tmp_path):
            pass
    finally:
        other.kill()
        other.wait()
    with files.sole_run(tmp_path):
        assert (tmp_path / ".running").read_text().startswith(f"process {os.getpid()} on ")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_on_a_file_that_is_gone_is_none(tmp_path, monkeypatch):
    """The run before removes its file, maybe between the next one's opening and locking it."""
    locked, lockf = [], files.fcntl.lockf

    def remove_first(file, flags):
        if not locked:
            (tmp_path / ".running").unlink()
        locked.append(file)
        lockf(file, flags)

    monkeypatch.setattr(files.fcntl, "lockf", remove_first)
    with files.sole_run(tmp_path):
        assert len(locked) == 2 and (tmp_path / ".running").exists()
