"""What a user may give as a checkpoint: paths, folders, URLs, names on the hub."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import pytest
import safetensors.torch
import torch

from vit_backbones import UserError, build_backbone
from vit_backbones.checkpoint import load_checkpoint
from vit_backbones.checkpoint.sources import locate

TINY = dict(embed_dims=32, depth=2, num_heads=2, img_size=32)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty cache of the hub; tests run with HF_HUB_OFFLINE (conftest.py)."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert huggingface_hub.constants.HF_HUB_OFFLINE
    return tmp_path / "hub"


def cache(hub: Path, repository: str, file: str, revision: str = "main") -> Path:
    """Put a file into the cache as the hub's client lays it out."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = hub / f"models--{repository.replace('/', '--')}"
    for part in ("refs", "blobs", f"snapshots/{commit}"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "refs" / revision).write_text(commit)
    blob = folder / "blobs" / file.replace(".", "")
    link = folder / "snapshots" / commit / file
    link.symlink_to(blob)
    return blob


@pytest.mark.parametrize(
    ("name", "repository", "file", "revision"),
    [
        ("hf://facebook/dinov2-base", "facebook/dinov2-base", "model.safetensors", "main"),
        ("hf://google/vit", "google/vit", "pytorch_model.bin", "main"),
        ("timm/vit_tiny.augreg_in21k", "timm/vit_tiny.augreg_in21k", "model.safetensors", "main"),
        ("hf://org/name@v1.0", "org/name", "model.safetensors", "v1.0"),
        ("hf://org/name/weights.npz", "org/name", "weights.npz", "main"),
    ],
)
def test_names_in_the_cache(hub, name, repository, file, revision) -> None:
    blob = cache(hub, repository, file, revision)
    blob.write_bytes(b"weights")
    path = locate(name)
    assert path.name == file and path.read_bytes() == b"weights"


def test_a_model_from_the_cache(hub) -> None:
    source, model = (build_backbone("vit_ti16", **TINY) for _ in range(2))
    blob = cache(hub, "timm/vit_tiny", "model.safetensors")
    safetensors.torch.save_file(source.state_dict(), blob)
    load_checkpoint(model, "timm/vit_tiny")
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def in_two_files(state: dict[str, torch.Tensor]) -> tuple[str, dict[str, dict]]:
    """An index, and the files that it names, as Hugging Face writes a large model."""
    names = list(state)
    files = {
        f"model-0000{i + 1}-of-00002.safetensors": {n: state[n] for n in names[i::2]}
        for i in range(2)
    }
    places = {name: file for file, part in files.items() for name in part}
    return json.dumps(dict(metadata={}, weight_map=places)), files


def test_a_folder_of_several_files(tmp_path) -> None:
    source, model = (build_backbone("vit_ti16", **TINY) for _ in range(2))
    text, files = in_two_files(source.state_dict())
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(text)
    for file, part in files.items():
        safetensors.torch.save_file(part, tmp_path / file)
    for place in (tmp_path, index):
        load_checkpoint(model, place, quiet=True)
        assert all(map(torch.equal, source.state_dict().values(), model.state_dict().values()))
    (tmp_path / file).unlink()
    with pytest.raises(UserError, match=f"{file} does not exist"):
        load_checkpoint(model, tmp_path)
    for text in ("{}", "[1]", "no", '{"weight_map": {"a": "../model.pth"}}'):
        index.write_text(text)
        with pytest.raises(UserError, match=r"index\.json"):
            load_checkpoint(model, tmp_path)


def test_several_files_from_the_cache(hub) -> None:
    source, model = (build_backbone("vit_ti16", **TINY) for _ in range(2))
    text, files = in_two_files(source.state_dict())
    cache(hub, "org/large", "model.safetensors.index.json").write_text(text)
    with pytest.raises(UserError, match="not in the cache"):
        load_checkpoint(model, "hf://org/large")
    for file, part in files.items():
        safetensors.torch.save_file(part, cache(hub, "org/large", file))
    load_checkpoint(model, "hf://org/large", quiet=True)
    assert all(map(torch.equal, source.state_dict().values(), model.state_dict().values()))


@pytest.mark.parametrize(("name", "words"), [("", "is empty"), ("http://", "names no file")])
def test_names_of_nothing(name, words) -> None:
    with pytest.raises(UserError, match=words):
        locate(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf://org/name", ["not in the cache", "no network", "HF_HUB_OFFLINE", "hf download"]),
        ("timm/name", ["not in the cache"]),
        ("hf://org", ["expected hf://org/name"]),
        ("hf://org/na me", ["can't be loaded"]),
        ("s3://bucket/a.pth", ["expected a path"]),
        ("nothing.pth", ["nothing.pth does not exist"]),
    ],
)
def test_what_cannot_be_had(hub, name, words) -> None:
    with pytest.raises(UserError) as caught:
        load_checkpoint(build_backbone("vit_ti16", **TINY), name)
    for word in (name, *words):
        assert word in str(caught.value)


def test_a_folder_comes_before_a_name_of_the_hub(hub, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("timm/name").mkdir(parents=True)
    with pytest.raises(UserError, match=r"a folder with none of model\.safetensors"):
        locate("timm/name")
    Path("timm/name/model.safetensors").touch()
    assert locate("timm/name") == Path("timm/name/model.safetensors")


def test_urls(tmp_path, monkeypatch) -> None:
    """A file is downloaded once; without a network the message says where to put it."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match="can't be downloaded") as caught:
        locate("http://localhost:9/vit.pth?download=1")
    expected = tmp_path / "checkpoints" / "vit.pth"
    assert str(expected) in str(caught.value) and not expected.exists()
    expected.write_bytes(b"weights")
    assert locate("http://localhost:9/vit.pth?download=1") == expected
