"""mmengine reads its own checkpoints, and no path of it runs code from a foreign one."""

import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader, load_from_http

import vit_backbones  # noqa: F401  (repairs)
from vit_backbones.compat import checkpoints
from vit_backbones.errors import UserError


class Attack:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def attack(tmp_path):
    """A checkpoint whose pickle runs code, and the folder that this code would make."""
    file, mark = tmp_path / "attack.pth", tmp_path / "code_ran"
    torch.save({"state_dict": {}, "meta": Attack(mark)}, file)
    return file, mark


@pytest.fixture(params=[False, True], ids=["", "force_no_weights_only"])
def force(request, monkeypatch):
    """People work around torch 2.6 with this variable, which switches torch's protection off."""
    if request.param:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")


def test_what_mmengine_saves_comes_back(tmp_path):
    log = HistoryBuffer([1.0, 2.0, 6.0], [1, 1, 1])
    saved = {
        "state_dict": {"weight": torch.arange(3.0)},
        "message_hub": {"log_scalars": {"loss": log}, "runtime_info": {"lr": np.float64(0.5)}},
        "meta": {"seed": 3, "palette": np.arange(6, dtype=np.uint8).reshape(2, 3)},
    }
    torch.save(saved, tmp_path / "own.pth")
    loaded = CheckpointLoader.load_checkpoint(str(tmp_path / "own.pth"), "cpu")
    buffer = loaded["message_hub"]["log_scalars"]["loss"]
    assert buffer.statistics("mean") == 3.0
    assert buffer.statistics("max") == 6.0
    assert loaded["message_hub"]["runtime_info"]["lr"] == 0.5
    assert loaded["meta"]["palette"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "float32"])
def test_numpy_numbers_of_every_kind_come_back(tmp_path, dtype):
    torch.save({"scalar": np.dtype(dtype).type(1), "array": np.ones(2, dtype)}, tmp_path / "x.pth")
    loaded = CheckpointLoader.load_checkpoint(str(tmp_path / "x.pth"))
    assert loaded["scalar"] == 1
    assert loaded["array"].dtype == dtype


def test_without_the_safe_globals_torch_refuses_mmengines_own_file(tmp_path):
    torch.save({"log": HistoryBuffer([1.0], [1])}, tmp_path / "own.pth")
    ours = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with pytest.raises(pickle.UnpicklingError, match="Unsupported global"):
            torch.load(tmp_path / "own.pth")
    finally:
        torch.serialization.add_safe_globals(ours)


def test_a_local_file_cannot_run_code(attack, force):
    file, mark = attack
    with pytest.raises(UserError) as error:
        CheckpointLoader.load_checkpoint(str(file), "cpu")
    assert not mark.exists()
    assert str(file) in str(error.value)
    assert "mkdir" in str(error.value)


def test_load_checkpoint_into_a_model_cannot_run_code(attack, force):
    file, mark = attack
    with pytest.raises(UserError):
        load_checkpoint(torch.nn.Linear(1, 1), str(file))
    assert not mark.exists()


def test_a_url_cannot_run_code(attack, force, tmp_path):
    file, mark = attack
    with pytest.raises((UserError, pickle.UnpicklingError)):
        load_from_http(file.as_uri(), model_dir=str(tmp_path / "cache"))
    assert not mark.exists()


def test_what_mmengine_uses_for_urls_would_run_the_code(attack, tmp_path):
    file, mark = attack
    torch.utils.model_zoo.load_url(file.as_uri(), model_dir=str(tmp_path / "cache"))
    assert mark.exists()


def test_resuming_a_runner_cannot_run_code(attack, force, tmp_path):
    from mmengine.runner import Runner

    file, mark = attack
    runner = Runner(
        model=torch.nn.Linear(1, 1),
        work_dir=str(tmp_path),
        train_dataloader=[],
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=1)),
        load_from=str(file),
        resume=True,
        experiment_name=f"attack_{os.path.basename(tmp_path)}",
    )
    with pytest.raises(UserError):
        runner.load_or_resume()
    assert not mark.exists()


def test_getattr_reaches_nothing_but_the_statistics(tmp_path):
    class Reach:
        def __init__(self, owner, name):
            self.what = owner, name

        def __reduce__(self):
            return getattr, self.what

    for owner, name in ((HistoryBuffer, "__init__"), (np.ndarray, "tofile"), (getattr, "__self__")):
        torch.save({"x": Reach(owner, name)}, tmp_path / "reach.pth")
        with pytest.raises(UserError, match="getattr"):
            CheckpointLoader.load_checkpoint(str(tmp_path / "reach.pth"))


def test_a_damaged_file_is_called_damaged(tmp_path):
    (tmp_path / "damaged.pth").write_bytes(b"<html>404</html>")
    with pytest.raises(UserError, match=r"damaged\.pth cannot be read as a checkpoint"):
        CheckpointLoader.load_checkpoint(str(tmp_path / "damaged.pth"))


def test_old_numpy_names_are_known():
    names = {item[1] for item in checkpoints.safe_globals() if isinstance(item, tuple)}
    assert {"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"} <= names
