"""torch.compile changes neither what a checkpoint holds nor whether a resume is exact."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.runner.checkpoint import _load_checkpoint

from tests.engine.toy import assert_same_weights, run, toy_config, toy_runner, train, weights


def whole_step(work_dir: Any, **changes: Any) -> Any:
    """mmengine's own ``compile``: the training step."""
    return toy_config(work_dir, epochs=3, compile=dict(backend="eager"), **changes)


@pytest.mark.parametrize("what", ["step", "module"])
def test_checkpoints_and_resume_are_those_of_a_plain_run(tmp_path, what):
    ema = dict(custom_hooks=[dict(type="EMAHook", momentum=0.1)])

    def compiled(folder: str, **changes: Any) -> Any:
        kill = changes.pop("kill", {})
        torch.compiler.reset()
        if what == "step":
            return run(whole_step(tmp_path / folder, **ema, **changes), **kill)
        runner = toy_runner(toy_config(tmp_path / folder, epochs=3, **ema, **changes))
        runner.model.first.compile(backend="eager")  # in place, as tools/train.py --compile does
        return train(runner, **kill)

    plain = run(toy_config(tmp_path / "plain", epochs=3, **ema))
    whole = compiled("whole")
    keys = [
        _load_checkpoint(str(tmp_path / folder / "epoch_2.pth"))["state_dict"].keys()
        for folder in ("plain", "whole")
    ]
    assert keys[0] == keys[1]
    compiled("parts", kill=dict(epoch=1))
    resumed = compiled("parts", resume=True)
    assert_same_weights(weights(whole), weights(resumed))
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(whole)[name], value)


def test_a_plain_run_resumes_from_a_compiled_one(tmp_path):
    torch.compiler.reset()
    whole = run(toy_config(tmp_path / "whole", epochs=3))
    run(whole_step(tmp_path / "parts"), epoch=2)
    resumed = run(toy_config(tmp_path / "parts", epochs=3, resume=True))
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[name], value)
