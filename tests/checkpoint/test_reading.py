"""Files of weights: every format is read, every bad file is refused in words, none runs code."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import resource
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from vit_backbones import UserError
from vit_backbones.checkpoint.reading import read_state_dict, sha256

WEIGHTS = {"a.weight": torch.randn(7, 5), "a.bias": torch.randn(7), "n": torch.arange(3)}


def write_legacy(path: Path) -> None:
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)


def write_arrays(path: Path) -> None:
    """As detectron2 does."""
    arrays = OrderedDict((name, tensor.numpy()) for name, tensor in WEIGHTS.items())
    content = {"model": arrays, "__author__": "someone", "iteration": np.int64(7)}
    path.write_bytes(pickle.dumps(content, protocol=2))


WRITERS: dict[str, Callable[[Path], None]] = {
    "torch.pth": lambda path: torch.save(WEIGHTS, path),
    "legacy.pth": write_legacy,
    "weights.safetensors": lambda path: safetensors.torch.save_file(WEIGHTS, path),
    "weights.npz": lambda path: np.savez(path, **{n: t.numpy() for n, t in WEIGHTS.items()}),
    "smaller.npz": lambda path: np.savez_compressed(
        path, **{n: t.numpy() for n, t in WEIGHTS.items()}
    ),
    "detectron2.pkl": write_arrays,
}


@pytest.fixture(params=WRITERS)
def good_file(request, tmp_path) -> Path:
    path = tmp_path / request.param
    WRITERS[request.param](path)
    return path


def assert_same(state: dict, expected: dict = WEIGHTS) -> None:
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor) and state[name].dtype == tensor.dtype


def refused(path: Path, *words: str) -> str:
    with pytest.raises(UserError) as caught:
        read_state_dict(path)
    message = str(caught.value)
    for word in (str(path), *words):
        assert word in message
    assert "weights_only" not in message  # torch's advice: to load the file unsafely
    return message


def test_formats(good_file) -> None:
    assert_same(read_state_dict(good_file))


def test_suffix_does_not_matter(good_file, tmp_path) -> None:
    assert_same(read_state_dict(good_file.rename(tmp_path / "downloaded")))


def test_bfloat16_in_npz(tmp_path) -> None:
    """numpy has no such type: JAX's files hold two bytes of nothing in particular."""
    tensor = torch.randn(4, 3).to(torch.bfloat16)
    np.savez(tmp_path / "a.npz", a=tensor.view(torch.int16).numpy().view("V2"))
    assert_same(read_state_dict(tmp_path / "a.npz"), {"a": tensor})


def test_arrays_of_other_byte_order_and_layout(tmp_path) -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    np.savez(tmp_path / "a.npz", a=array)
    assert_same(
        read_state_dict(tmp_path / "a.npz"), {"a": torch.tensor([[0.0, 3], [1, 4], [2, 5]])}
    )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: {"state_dict": w, "meta": {"epoch": 3}, "loss": torch.tensor(1.0)},
        lambda w: {"model": w, "args": argparse.Namespace(lr=0.1), "optimizer": {"state": {}}},
        lambda w: {"model_state": w, "epoch": 1},
        lambda w: {"model": {"state_dict": {"module": w}}},
        lambda w: {"teacher": w, "student": {"a.weight": torch.zeros(1)}},
        lambda w: {"model": {"a.weight": torch.zeros(1)}, "model_ema": w},
        lambda w: {"state_dict": {"a.weight": torch.zeros(1)}, "state_dict_ema": w},
    ],
)
def test_wrappers_are_opened_the_average_first(wrap, tmp_path) -> None:
    torch.save(wrap(WEIGHTS), tmp_path / "a.pth")
    assert_same(read_state_dict(tmp_path / "a.pth"))


class CfgNode(dict):
    """As yacs's: a dict with attributes."""

    def __init__(self, content):
        super().__init__(content)
        self.__dict__["__immutable__"] = True


def test_a_config_of_yacs_beside_the_weights(tmp_path, monkeypatch) -> None:
    """As Swin's and SimMIM's authors save it; yacs need not be there."""
    with monkeypatch.context() as patch:
        module = types.ModuleType("yacs.config")
        module.CfgNode = CfgNode
        patch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
        patch.setitem(sys.modules, "yacs.config", module)
        patch.setattr(CfgNode, "__module__", "yacs.config")
        config = CfgNode({"MODEL": CfgNode({"TYPE": "swin"}), "EPOCHS": 300})
        torch.save({"model": WEIGHTS, "config": config, "epoch": 1}, tmp_path / "a.pth")
    assert_same(read_state_dict(tmp_path / "a.pth"))


def test_mmengine_saves_the_average_as_state_dict(tmp_path) -> None:
    """Its EMAHook swaps the average and the raw weights when it saves."""
    from types import SimpleNamespace

    from mmengine.hooks import EMAHook
    from mmengine.logging import HistoryBuffer
    from mmengine.model import BaseModel

    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)

        def forward(self):
            pass

    hook = EMAHook(momentum=0.5)
    runner = SimpleNamespace(model=Model(), iter=5, epoch=0)
    hook.before_run(runner)
    for value in (4.0, 8.0):
        torch.nn.init.constant_(runner.model.layer.weight, value)
        hook.after_train_iter(runner, 0)
    checkpoint = {
        "state_dict": runner.model.state_dict(),
        "message_hub": {"log_scalars": {"loss": HistoryBuffer([1.0], [1])}},
    }
    hook.before_save_checkpoint(runner, checkpoint)
    torch.save(checkpoint, tmp_path / "epoch_1.pth")
    average = hook.ema_model.module.layer.weight
    assert not torch.equal(average, runner.model.layer.weight)
    assert torch.equal(read_state_dict(tmp_path / "epoch_1.pth")["layer.weight"], average)


@pytest.mark.parametrize("share", [i / 10 for i in range(10)] + [0.999])
def test_truncated(good_file, share) -> None:
    data = good_file.read_bytes()
    good_file.write_bytes(data[: int(share * len(data))])
    refused(good_file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["empty"]),
        (b"<!DOCTYPE html>\n<html>Sign in", ["<!DOCTYPE html>"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:9\n", ["git-lfs"]),
        (b'{"a": 1}', ["no checkpoint"]),
        (bytes(range(256)) * 10, ["no checkpoint"]),
    ],
)
def test_no_checkpoint_at_all(content, words, tmp_path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    refused(path, *words)


def test_no_file(tmp_path) -> None:
    refused(tmp_path / "a.pth", "does not exist")
    refused(tmp_path, "is a folder")


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.zeros(2)], {}, {"state_dict": {}}])
def test_no_weights(content, tmp_path) -> None:
    torch.save(content, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "no weights", "state_dict")


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


EVIL_WRITERS = {
    "zip": lambda content, path: torch.save(content, path),
    "legacy": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    "pickle": lambda content, path: path.write_bytes(pickle.dumps(content)),
    "protocol 0": lambda content, path: path.write_bytes(pickle.dumps(content, protocol=0)),
    "npz": lambda content, path: np.savez(path.open("wb"), a=np.array([content], dtype=object)),
}


@pytest.mark.parametrize("kind", EVIL_WRITERS)
def test_code_is_refused_and_does_not_run(kind, tmp_path) -> None:
    trace, path = tmp_path / "was_here", tmp_path / "evil.pth"
    EVIL_WRITERS[kind]({"a": torch.zeros(2), "b": Evil(trace)}, path)
    message = refused(path)
    assert not trace.exists()
    if kind in ("zip", "legacy", "pickle"):
        assert "could run code" in message
        assert kind == "pickle" or f"{os.name}.mkdir" in message
    if kind != "protocol 0":  # the same file would run it where nobody takes care
        with open(path, "rb") as file:
            if kind == "npz":
                np.load(file, allow_pickle=True)["a"]
            elif kind == "pickle":
                pickle.load(file)
            else:
                torch.load(file, weights_only=False)
        assert trace.exists()


def test_torchscript_is_refused(tmp_path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "a.pt")
    refused(tmp_path / "a.pt", "TorchScript")


def rewrite(path: Path, compression: int, **members: bytes) -> None:
    """A torch file with some of its members replaced, compressed or not."""
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(10, 10)}, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, members.get(name.split("/", 1)[1], old.read(name)))


def test_zip_bombs(tmp_path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10_000_000, np.float32))
    refused(tmp_path / "a.npz", "unpack")
    rewrite(tmp_path / "a.pth", zipfile.ZIP_DEFLATED, **{"data/0": bytes(40_000_000)})
    refused(tmp_path / "a.pth", "unpack")
    torch.save({"a": torch.zeros(1).expand(2**20, 2**20)}, tmp_path / "b.pth")  # 4 bytes for 4 TB
    refused(tmp_path / "b.pth", "unpack")


def npy(shape: tuple[int, ...], data: bytes) -> bytes:
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + data


@pytest.mark.parametrize("shape", [(10**12,), (2**28,), (2, 10**9), (1,)])
def test_npz_header_that_lies(shape, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", npy(shape, bytes(12)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path / "a.npz", "claims", str(shape))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def safetensors_file(path: Path, header: dict | bytes, data: bytes, length: int | None = None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(header) if length is None else length
    path.write_bytes(length.to_bytes(8, "little") + header + data)


@pytest.mark.parametrize(
    ("entry", "length"),
    [
        (dict(dtype="F32", shape=[2**30], data_offsets=[0, 2**32]), None),  # more than there is
        (dict(dtype="F32", shape=[2**40], data_offsets=[0, 8]), None),  # shape and offsets differ
        (dict(dtype="F32", shape=[2**62, 2**62], data_offsets=[0, 8]), None),  # overflow
        (dict(dtype="F32", shape=[2], data_offsets=[8, 0]), None),
        (dict(dtype="F32", shape=[2], data_offsets=[0, 8]), 2**62),  # header longer than the file
        (dict(dtype="F32", shape=[2], data_offsets=[0, 8]), 2**30),
        (dict(dtype="X", shape=[2], data_offsets=[0, 8]), None),
    ],
)
def test_safetensors_header_that_lies(entry, length, tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    safetensors_file(path, {"a": entry}, bytes(8), length)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_safetensors_whose_entries_share_data(tmp_path) -> None:
    entries = {name: dict(dtype="F32", shape=[2], data_offsets=[0, 8]) for name in ("a", "b", "c")}
    safetensors_file(tmp_path / "a.safetensors", entries, bytes(8))
    refused(tmp_path / "a.safetensors")


def test_damaged_npz(tmp_path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros(100, np.float32))
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    refused(path, "CRC")


def test_the_hash_in_the_name(tmp_path) -> None:
    torch.save(WEIGHTS, tmp_path / "a.pth")
    digits = sha256(tmp_path / "a.pth")[:8]
    good = (tmp_path / "a.pth").rename(tmp_path / f"vit-{digits}.pth")
    assert_same(read_state_dict(good))
    changed = good.rename(tmp_path / "vit-01234567.pth")
    refused(changed, "01234567", digits)


@pytest.mark.parametrize("name", ["vit-20230131.pth", "vit-small.pth", "vit-12345.pth"])
def test_names_without_a_hash(name, tmp_path) -> None:
    torch.save(WEIGHTS, tmp_path / name)
    assert_same(read_state_dict(tmp_path / name))
