"""What a user may name as a checkpoint, as the path of a local file."""

from __future__ import annotations

import urllib.error
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse

import huggingface_hub
import torch
from huggingface_hub import errors

from ..errors import UserError
from .indexed import INDEXES, files_of, is_index
from .sharded import is_sharded

# What a folder or a repository of Hugging Face may hold, best first.
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", *INDEXES)
# How names begin that may be fetched.
REMOTE = ("http://", "https://", "hf://", "timm/")


def locate(source: str | Path) -> Path:
    """The file that holds the weights, downloaded into the usual cache if need be.

    Args:
        source: Path of a file; a folder that ``save_pretrained`` of transformers wrote; the work
            folder of a training run, for its best checkpoint; an http(s) URL; ``hf://org/name``,
            with ``@revision`` and ``/file`` if wanted; or ``timm/name``, short for
            ``hf://timm/name``.

    Raises:
        UserError: There is no such thing, or it can't be reached.
    """
    name = str(source)
    path = Path(name).expanduser()
    if not name:
        raise UserError(
            "the checkpoint's name is empty; give a path, an http(s) URL or hf://org/name"
        )
    if path.is_dir():
        return path if is_sharded(path) else _in_folder(path)
    if name.startswith(("http://", "https://")):
        return _download(name)
    if name.startswith("hf://"):
        return _from_hub(name.removeprefix("hf://"))
    if name.startswith("timm/") and not path.exists():
        return _from_hub(name)
    if "://" in name:
        raise UserError(f"{name}: expected a path, an http(s) URL, hf://org/name or timm/name")
    if not path.exists():
        raise UserError(
            f"{path} does not exist; give the path of a file of weights, an http(s) URL, "
            "hf://org/name or timm/name"
        )
    return path


def _in_folder(folder: Path) -> Path:
    found = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    # the work folder of a run: the newest of the best checkpoints of its metrics
    found += sorted(folder.glob("best_*.pth"), key=lambda path: path.stat().st_mtime)[::-1]
    if not found:
        raise UserError(
            f"{folder} is a folder with none of {', '.join(WEIGHTS)} in it, nor a best_*.pth"
        )
    return found[0]


def _download(url: str) -> Path:
    """The file of a URL, kept where torch.hub and mmengine keep theirs; the hash in its name is
    verified when it is read."""
    file = Path(urlparse(url).path).name
    if not file:
        raise UserError(f"{url} names no file; expected the address of a file of weights")
    path = Path(torch.hub.get_dir(), "checkpoints", file)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path))
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"{url} can't be downloaded: {reason}. Without a network, copy the file to {path}"
            ) from error
    return path


def _from_hub(name: str) -> Path:
    """A file of a repository 'org/name[@revision][/file]' of Hugging Face."""
    org, _, rest = name.partition("/")
    repository, _, file = rest.partition("/")
    repository, _, revision = repository.partition("@")
    if not org or not repository:
        raise UserError(f"hf://{name}: expected hf://org/name, such as hf://facebook/dinov2-base")
    wanted = (file,) if file else WEIGHTS
    place = dict(repo_id=f"{org}/{repository}", revision=revision or None)
    try:
        path = _cached(wanted, place) or _fetch(wanted, place)
        for part in files_of(path) if is_index(path) else ():
            _cached((part,), place) or _fetch((part,), place)
        return path
    except errors.LocalEntryNotFoundError as error:
        raise UserError(
            f"hf://{name} is not in the cache ({huggingface_hub.constants.HF_HUB_CACHE}) and can't "
            "be downloaded: there is no network, or HF_HUB_OFFLINE is set. Where there is one, run "
            f"`hf download {org}/{repository}` and copy the cache, or give the path of a file"
        ) from error
    except errors.EntryNotFoundError as error:
        raise UserError(
            f"hf://{name} has no {' or '.join(wanted)}; name a file of it as hf://{name}/FILE"
        ) from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        raise UserError(
            f"hf://{name} can't be loaded: {str(error).strip().splitlines()[0]} Check the name; a "
            "private or gated repository needs `hf auth login`"
        ) from error


def _cached(wanted: Sequence[str], place: dict) -> Path | None:
    for file in wanted:
        path = huggingface_hub.try_to_load_from_cache(filename=file, **place)
        if isinstance(path, str):  # else None, or a note that the repository has no such file
            return Path(path)
    return None


def _fetch(wanted: Sequence[str], place: dict) -> Path:
    """Download the first of the files that the repository has."""
    for file in wanted[:-1]:
        try:
            return Path(huggingface_hub.hf_hub_download(filename=file, **place))
        except errors.LocalEntryNotFoundError:  # no network: no other file can be had either
            raise
        except errors.EntryNotFoundError:
            continue
    return Path(huggingface_hub.hf_hub_download(filename=wanted[-1], **place))
