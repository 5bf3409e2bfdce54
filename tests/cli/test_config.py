"""Finding, reading and overriding configs."""

from __future__ import annotations

import re

import pytest

from vit_backbones import UserError
from vit_backbones.cli.config import choose_work_dir, find_config, read_config


@pytest.mark.parametrize("name", ["vit_digits", "vit_digits.py", "configs/vit_digits.py"])
def test_configs_that_ship_are_found_by_name_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name).name == "vit_digits.py"


def test_a_path_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vit_digits.py").write_text("a = 1")
    assert read_config("vit_digits.py").a == 1


@pytest.mark.parametrize("name", ["vit_digit", "configs/vit_digit.py"])
def test_unknown_config_names_the_nearest(name):
    with pytest.raises(UserError, match="did you mean 'vit_digits'"):
        find_config(name)


def test_a_path_elsewhere_is_not_taken_for_a_name():
    with pytest.raises(UserError, match=r"no config at other/vit_digits\.py"):
        find_config("other/vit_digits.py")


@pytest.mark.parametrize(
    "text, reason",
    [
        ("a = (", "SyntaxError"),
        ("_base_ = 'none.py'", "none.py"),
        ("custom_imports = dict(imports=['no_such_module'])", "no_such_module"),
        ("a = b", "NameError"),
    ],
)
def test_a_config_that_cannot_be_read(text, reason, tmp_path):
    path = tmp_path / "c.py"
    path.write_text(text)
    with pytest.raises(UserError, match=reason) as caught:
        read_config(str(path))
    assert str(path) in str(caught.value)


def test_options_are_applied():
    cfg = read_config("vit_digits", {"train_cfg.max_epochs": 3, "model.backbone.drop_rate": 0.1})
    assert cfg.train_cfg.max_epochs == 3
    assert cfg.model.backbone.drop_rate == 0.1  # new here, known to the encoder


def test_options_that_nothing_would_read():
    with pytest.raises(UserError, match="no 'trian_cfg', did you mean 'train_cfg'"):
        read_config("vit_digits", {"trian_cfg.max_epochs": 3})


@pytest.mark.parametrize(
    "option, value, message",
    [
        ("optim_wrapper.optimizer", "SGD", "did you mean optim_wrapper.optimizer.type=SGD?"),
        ("model.backbone", 3, "model.backbone has settings of its own"),
        ("train_dataloader", 3, "train_dataloader has settings of its own"),
        ("custom_hooks", 3, "custom_hooks=3: expected a list"),
        ("load_from", 3, "load_from=3: expected a path"),
        ("work_dir", 5, "work_dir=5: expected a path"),
    ],
)
def test_options_of_another_kind(option, value, message):
    with pytest.raises(UserError, match=f"--cfg-options {re.escape(option)}") as caught:
        read_config("vit_digits", {option: value})
    assert message in str(caught.value)


def test_options_may_change_the_kind_deeper_down():
    cfg = read_config("vit_digits", {"optim_wrapper.clip_grad": "none", "train_cfg": None})
    assert cfg.optim_wrapper.clip_grad == "none" and cfg.train_cfg is None
    options = {"model.backbone.arch": "vit_ti16", "model.neck": None, "val_evaluator": []}
    cfg = read_config("vit_digits", options)
    assert cfg.model.backbone.arch == "vit_ti16" and cfg.val_evaluator == []


def test_options_that_do_not_fit():
    with pytest.raises(UserError, match="--cfg-options"):
        read_config("vit_digits", {"train_pipeline.99.type": "Resize"})


def test_work_dir_is_the_option_the_config_or_the_name():
    cfg = read_config("vit_digits")
    choose_work_dir(cfg, None)
    assert cfg.work_dir == "work_dirs/vit_digits"
    cfg.work_dir = None
    choose_work_dir(cfg, None, "swin_t")
    assert cfg.work_dir == "work_dirs/vit_digits_swin_t"
    choose_work_dir(cfg, "x")
    choose_work_dir(cfg, None)
    assert cfg.work_dir == "x"


@pytest.mark.parametrize(
    "name",
    [
        "mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py",
        "mmdet::dino/dino-4scale_r50_8xb2-12e_coco",
        "mmseg::upernet/upernet_r50_4xb4-80k_ade20k-512x512.py",
        "mmpretrain::resnet/resnet50_8xb32_in1k.py",
    ],
)
def test_configs_of_the_libraries_go_by_their_names(name):
    cfg = read_config(name)
    assert cfg.default_scope == name.split("::")[0]
    assert "type" in cfg.model


@pytest.mark.parametrize(
    "name, message",
    [
        ("mmdt::dino/x.py", "no library 'mmdt', did you mean 'mmdet'"),
        ("mmdet::dino/dino-4scale_r50_8xb2_coco.py", "did you mean 'dino/dino-4scale_r50_8xb2-"),
        ("mmdet::dino/dino-4scale_r50_8xb2_coco.py", r"There are \d{3,} in /"),
    ],
)
def test_unknown_configs_of_a_library(name, message):
    with pytest.raises(UserError, match=message):
        find_config(name)


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("vit_backbones.cli.config.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"mmdet::a\.py: mmdet is not installed"):
        find_config("mmdet::a.py")
