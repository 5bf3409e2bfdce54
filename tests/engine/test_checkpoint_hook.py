"""Checkpoints: never half-written, found again, and complete enough for an exact resume."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner.checkpoint import _load_checkpoint

from tests.engine.processes import PROCESSES
from tests.engine.toy import (
    CURRENT,
    ToyAccuracy,
    assert_same_weights,
    run,
    toy_config,
    toy_runner,
    weights,
)
from vit_backbones import UserError
from vit_backbones import files as whole_files
from vit_backbones.engine.checkpoint_hook import find_checkpoint, is_complete

KEEP_ONE = {"default_hooks.checkpoint.max_keep_ckpts": 1}
IMPROVES = {"val_evaluator.scores": [1.0, 2.0, 3.0]}
STEPS = ["write", "flush", "rename", "flush"]  # of one file


class KillPoints:
    """Counts what touches the disk from ``epoch`` on, and dies of SIGKILL at number ``at``."""

    def __init__(self, at: int | None) -> None:
        self.at, self.seen = at, []

    def reach(self, name: str) -> bool:
        self.seen.append(name)
        return len(self.seen) - 1 == self.at

    def install(self) -> None:
        def step(name: str, call: Any) -> Any:
            def wrapped(*args: Any) -> Any:
                if self.reach(name):
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args)

            return wrapped

        points = self

        class HalfWritten:
            def __init__(self, *args: Any) -> None:
                self.file = open(*args)

            def __enter__(self) -> HalfWritten:
                return self

            def __exit__(self, *error: Any) -> None:
                self.file.close()

            def __getattr__(self, name: str) -> Any:
                return getattr(self.file, name)

            def write(self, data: bytes) -> None:
                if points.reach("write"):
                    self.file.write(data[: len(data) // 2])
                    self.file.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
                self.file.write(data)

        whole_files.open = HalfWritten
        os.fsync = step("flush", lambda descriptor: None)
        os.replace = step("rename", os.replace)
        os.remove = step("remove", os.remove)


def killed_while_saving(work_dir: Path, at: int | None, seen: Any) -> None:
    """In a process of its own: train, and die at point ``at`` of saving after epoch 2."""
    points = KillPoints(at)
    runner = toy_runner(toy_config(work_dir, epochs=3, **KEEP_ONE, **IMPROVES))

    class InEpochTwo(Hook):
        def before_val(self, runner: Any) -> None:
            if runner.epoch == 2:
                points.install()

        def before_train_epoch(self, runner: Any) -> None:
            if runner.epoch == 2:
                seen.put(points.seen)
                seen.close()
                seen.join_thread()
                os.kill(os.getpid(), signal.SIGKILL)

    runner.register_hook(InEpochTwo())
    runner.train()


def kill_at(work_dir: Path, at: int | None) -> list[str] | None:
    seen = PROCESSES.Queue()
    process = PROCESSES.Process(target=killed_while_saving, args=(work_dir, at, seen))
    process.start()
    steps = seen.get(timeout=60) if at is None else None
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    return steps


def test_a_kill_at_any_point_of_saving_loses_nothing(tmp_path):
    whole = run(toy_config(tmp_path / "whole", epochs=3, **KEEP_ONE, **IMPROVES))
    steps = kill_at(tmp_path / "count", None)
    best, checkpoint, pointer = STEPS, STEPS, STEPS
    assert steps == [*best, *checkpoint, *pointer, "remove", "remove"]
    for at in range(len(steps)):
        folder = tmp_path / str(at)
        kill_at(folder, at)
        found = find_checkpoint(folder)
        assert is_complete(found)
        assert Path(found).name in ("epoch_1.pth", "epoch_2.pth")
        assert _load_checkpoint(found)["meta"]["epoch"] == int(Path(found).stem[-1])
        resumed = run(toy_config(folder, epochs=3, resume=True, **KEEP_ONE, **IMPROVES))
        assert_same_weights(weights(whole), weights(resumed))
        assert files(folder) == files(tmp_path / "whole"), f"killed at {at} ({steps[at]})"


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_file() and p.suffix != ".py")


def test_the_best_checkpoint_stays_until_its_successor_is_complete(tmp_path):
    run(toy_config(tmp_path, epochs=3, **KEEP_ONE, **IMPROVES))
    assert files(tmp_path) == ["best_accuracy_top1_epoch_3.pth", "epoch_3.pth", "last_checkpoint"]
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "epoch_3.pth")


def test_a_checkpoint_holds_the_validation_of_its_epoch(tmp_path):
    """mmengine's own is written before the validation, and a resume then skips that validation."""
    run(toy_config(tmp_path, epochs=3, **{"val_evaluator.scores": [1.0, 3.0, 2.0]}))
    for epoch, best in ((1, 1.0), (2, 3.0), (3, 3.0)):
        info = _load_checkpoint(str(tmp_path / f"epoch_{epoch}.pth"))["message_hub"]
        assert info["runtime_info"]["best_score"] == best
        assert len(info["log_scalars"]["val/accuracy/top1"].data[0]) == epoch


def test_a_validation_that_fails_does_not_take_the_checkpoint_with_it(tmp_path):
    with pytest.raises(IndexError):
        run(toy_config(tmp_path, epochs=3, **{"val_evaluator.scores": []}))
    assert find_checkpoint(tmp_path) == str(tmp_path / "epoch_1.pth")
    resumed = run(toy_config(tmp_path, epochs=3, resume=True))
    assert_same_weights(weights(resumed), weights(run(toy_config(tmp_path / "whole", epochs=3))))


def test_a_failed_validation_takes_no_average_for_the_weights(tmp_path, monkeypatch):
    """EMAHook puts the average into the model before a validation and takes it out after it."""
    extras = dict(custom_hooks=[dict(type="EMAHook", momentum=0.5)])
    whole = run(toy_config(tmp_path / "whole", **extras))
    measure = ToyAccuracy.compute_metrics

    def fail_once(self, results):
        if CURRENT["runner"].epoch == 2:
            raise OSError("disk")
        return measure(self, results)

    monkeypatch.setattr(ToyAccuracy, "compute_metrics", fail_once)
    with pytest.raises(OSError, match="disk"):
        run(toy_config(tmp_path / "parts", **extras))
    monkeypatch.setattr(ToyAccuracy, "compute_metrics", measure)
    resumed = run(toy_config(tmp_path / "parts", resume=True, **extras))
    assert_same_weights(weights(whole), weights(resumed))


def test_epochs_of_another_length_keep_the_schedule(tmp_path):
    """As on twice the processes: half the iterations per epoch."""
    changes = dict(
        custom_hooks=[dict(type="vit_backbones.ConvergencePlotHook")],
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.1, end=2, convert_to_iter_based=True),
            dict(type="CosineAnnealingLR", begin=2, T_max=4, end=6, convert_to_iter_based=True),
        ],
    )
    half = {"train_dataloader.batch_size": 16}
    whole = run(toy_config(tmp_path / "whole", epochs=6, **half, **changes), epoch=5)
    for epoch in (1, 3):  # within the warm-up, and after it
        folder = tmp_path / str(epoch)
        run(toy_config(folder, epochs=6, **changes), epoch=epoch)
        resumed = run(toy_config(folder, epochs=6, resume=True, **half, **changes), epoch=5)
        assert resumed.iter == whole.iter == 15
        rows = resumed.message_hub.get_info("history")
        assert [(row["epoch"], row["iter"]) for row in rows] == [(n, 3 * n) for n in range(1, 6)]
        rates = [r.optim_wrapper.get_lr()["lr"][0] for r in (resumed, whole)]
        assert rates[0] == pytest.approx(rates[1], rel=0.1)


@pytest.mark.parametrize(
    "interval, begin, saved", [(2, 1, [1, 2, 3, 4, 5]), (3, 4, [1, 2, 3, 4, 5])]
)
def test_epochs_without_validation_are_saved_too(tmp_path, interval, begin, saved):
    rhythm = {"train_cfg.val_interval": interval, "train_cfg.val_begin": begin}
    run(toy_config(tmp_path, epochs=5, **rhythm))
    assert [e for e in range(1, 6) if (tmp_path / f"epoch_{e}.pth").exists()] == saved
    whole = run(toy_config(tmp_path / "whole", epochs=5, **rhythm))
    resumed = run(
        toy_config(tmp_path, epochs=5, resume=True, load_from=str(tmp_path / "epoch_3.pth"))
    )
    assert_same_weights(weights(whole), weights(resumed))


def test_finds_the_named_then_the_newest_complete_checkpoint(tmp_path):
    assert find_checkpoint(tmp_path) is None
    for epoch in (2, 9, 10):
        torch.save({}, tmp_path / f"epoch_{epoch}.pth")
    torch.save({}, tmp_path / "best_top1_epoch_11.pth")
    assert Path(find_checkpoint(tmp_path)).name == "epoch_10.pth"
    data = (tmp_path / "epoch_10.pth").read_bytes()
    (tmp_path / "epoch_10.pth").write_bytes(data[:-40])
    assert Path(find_checkpoint(tmp_path)).name == "epoch_9.pth"
    pointer = tmp_path / "last_checkpoint"
    pointer.write_text(str(tmp_path / "epoch_2.pth"))
    assert Path(find_checkpoint(tmp_path)).name == "epoch_2.pth"
    pointer.write_text("")
    assert Path(find_checkpoint(tmp_path)).name == "epoch_9.pth"


def test_a_copied_folder_resumes_from_itself_and_leaves_the_original_alone(tmp_path):
    run(toy_config(tmp_path / "a", epochs=4, **KEEP_ONE), epoch=2)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    before = files(tmp_path / "a")
    resumed = toy_runner(toy_config(tmp_path / "b", epochs=4, resume=True, **KEEP_ONE))
    resumed.train()
    assert resumed._load_from == str(tmp_path / "b" / "epoch_2.pth")
    assert files(tmp_path / "a") == before


@pytest.mark.parametrize("scores", [[1.0, 2.0, 3.0], [1.0, 2.0, 0.0]])
def test_a_moved_folder_keeps_one_best_checkpoint(tmp_path, scores):
    scored = {"val_evaluator.scores": scores}
    run(toy_config(tmp_path / "old", epochs=2, **scored))
    (tmp_path / "old").rename(tmp_path / "new")
    resumed = run(toy_config(tmp_path / "new", epochs=3, resume=True, **scored))
    (best,) = (tmp_path / "new").glob("best_*.pth")
    assert best.name == f"best_accuracy_top1_epoch_{1 + scores.index(max(scores))}.pth"
    assert resumed.message_hub.get_info("best_ckpt") == str(best)


def test_a_new_run_in_the_folder_of_another_says_so(tmp_path, capfd):
    run(toy_config(tmp_path, epochs=1))
    assert "former run" not in "".join(capfd.readouterr())
    run(toy_config(tmp_path, epochs=1))
    assert "holds checkpoints of a former run" in "".join(capfd.readouterr())
    run(toy_config(tmp_path, epochs=2, resume=True))
    assert "former run" not in "".join(capfd.readouterr())


def test_resume_without_a_checkpoint_starts_anew(tmp_path):
    whole = run(toy_config(tmp_path / "whole"))
    assert_same_weights(weights(whole), weights(run(toy_config(tmp_path / "new", resume=True))))


def test_resume_from_unusable_files_is_one_message(tmp_path):
    run(toy_config(tmp_path / "a", epochs=1))
    best = str(tmp_path / "a" / "best_accuracy_top1_epoch_1.pth")
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(Path(best).read_bytes()[:1000])
    for file, message in (
        (best, "holds weights but no optimizer state"),
        (str(damaged), "is damaged"),
        (str(tmp_path / "none.pth"), "does not exist"),
    ):
        with pytest.raises(UserError, match=f"cannot resume: .*{message}"):
            run(toy_config(tmp_path / "b", resume=True, load_from=file))


def test_resume_with_other_groups_of_parameters_is_one_message(tmp_path):
    run(toy_config(tmp_path / "a", epochs=1))
    other = toy_config(tmp_path / "a", epochs=2, resume=True)
    other.optim_wrapper.paramwise_cfg = dict(bias_lr_mult=1.0)  # a group for each parameter
    message = "has 4 parameters in 1 groups, this config's has 4 in 4"
    with pytest.raises(UserError, match=f"cannot resume: .*epoch_1.pth {message}"):
        run(other)
