"""What a user sees of a mistake: one message, status 2, no traceback."""

from __future__ import annotations

import pytest
import torch

from tests.cli.command import TINY, command, options


@pytest.mark.parametrize(
    "setting, expected",
    [
        ("model.backbone.drop_path=0.1", "no setting 'drop_path', did you mean 'drop_path_rate'?"),
        ("model.backbone.arch=vit_b61", "no preset 'vit_b61', did you mean 'vit_b16'?"),
        ("model.backbone.type=vit_backbones.VisonTransformer", "did you mean 'VisionTransformer'?"),
        ("model.head.num_clases=3", "no argument 'num_clases', did you mean 'num_classes'?"),
        ("model.head.in_channels=None", "VisionTransformerClsHead in the config: "),
        ("train_cfg.max_epoch=3", "no argument 'max_epoch', did you mean 'max_epochs'?"),
        ("train_cfg.max_epochs=0.5", "EpochBasedTrainLoop in the config: "),
        ("train_cfg.max_epochs=0", "train_cfg.max_epochs=0 in the config: it must be at least 1"),
        ("train_cfg.val_interval=0", "train_cfg.val_interval=0 in the config: "),
        ("train_dataloader.batch_size=0", "train_dataloader.batch_size=0 in the config: "),
        ("val_dataloader.num_workers=-1", "val_dataloader.num_workers=-1 in the config: "),
        ("train_cfg.max_epochs=2", "CosineAnnealingLR begins after 3 epochs and ends after 2"),
        ("optim_wrapper.optimizer.type=AdmW", "no such optimizer, did you mean 'AdamW'?"),
        ("train_dataloader.dataset.split=test", "Digits in the config: "),
        ("train_dataloader.dataset.pipeline.0.type=Resiz", "no such transform, did you mean"),
        ("default_hooks.logger.type=LogerHook", "no such hook, did you mean 'LoggerHook'?"),
        (
            "default_hooks.checkpoint.intervall=2",
            "no argument 'intervall', did you mean 'interval'",
        ),
        ("trian_cfg.max_epochs=1", "did you mean 'train_cfg'?"),
        ("load_from=/none.pth", "no checkpoint at /none.pth"),
    ],
)
def test_mistakes_in_a_config(setting, expected, tmp_path):
    arguments = ["vit_digits", "--work-dir", tmp_path, *options(setting)]
    status, _, err = command("train", *arguments)
    assert status == 2
    assert expected in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["vit_digts"], "did you mean 'vit_digits'?"),
        (["vit_digits", "--cfg-options", "a"], "expected key=value, got 'a'"),
        (["vit_digits", "--cfg-options", "a=dict(b=1,c=2)"], "keys of dicts one by one"),
        (["vit_digits", "--cfg-options", "a=[1,2"], "can't read a=[1,2"),
        (["vit_digits", "--resume", "/none.pth"], "--resume: no checkpoint at /none.pth"),
        (["vit_digits", "--data-root", "/x"], "--data-root: this config reads no data"),
        (["vit_digits", "--pretrained", "/none.pth"], "/none.pth does not exist"),
        (["vit_l16_imagenet_384"], "give its weights with --pretrained FILE"),
        (["vit_b16_imagenet"], "ImageNet is not in"),
        (["vit_b16_imagenet", "--data-root", "/x/y"], "ImageNet is not in /x/y (no such folder)"),
        (["vit_cifar10"], "CIFAR10 is not in"),
    ],
)
def test_mistakes_on_the_command_line(arguments, expected, tmp_path):
    status, _, err = command("train", *arguments, "--work-dir", tmp_path / "work")
    assert status == 2
    assert expected in err
    assert "Traceback" not in err
    assert not (tmp_path / "work").exists()  # nothing was begun


def test_a_file_in_place_of_the_work_folder(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for work_dir in (file, file / "run"):
        status, _, err = command("train", "vit_digits", "--work-dir", work_dir, *options())
        assert (status, f"{file} is a file; choose another one" in err) == (2, True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="--amp works with a GPU")
def test_amp_without_gpu(tmp_path):
    arguments = ["vit_digits", "--amp", "--work-dir", tmp_path]
    status, _, err = command("train", *arguments)
    assert (status, "--amp needs a GPU" in err) == (2, True)


def test_compile_without_a_compiler(monkeypatch, tmp_path):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-such-compiler"))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    arguments = ["vit_digits", "--compile", "--work-dir", tmp_path, *options(*TINY)]
    status, _, err = command("train", *arguments)
    assert (status, "--compile needs a C++ compiler" in err) == (2, True)


def test_faults_of_the_program_keep_their_traceback(monkeypatch, tmp_path):
    def broken(*_):
        raise TypeError("cut() got an unexpected keyword argument 'max_epochs'")

    monkeypatch.setattr("vit_backbones.cli.training.check_data", broken)
    with pytest.raises(TypeError, match="cut"):
        command("train", "vit_digits", "--work-dir", tmp_path)
