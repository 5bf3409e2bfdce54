"""What the options of tools/train.py make of a config."""

from __future__ import annotations

from argparse import Namespace

import pytest
import torch
from mmengine.config import Config

from vit_backbones import UserError
from vit_backbones.cli import training
from vit_backbones.cli.config import read_config

OPTIONS = dict(
    config="vit_digits",
    work_dir=None,
    data_root=None,
    cfg_options=None,
    backbone=None,
    launcher="none",
    strategy=None,
    resume=None,
    pretrained=None,
    seed=None,
    deterministic=False,
    amp=False,
    auto_scale_lr=False,
    no_validate=False,
)


SMALL = dict(embed_dims=32, depth=4, num_heads=2)


def config(**options) -> Config:
    return training.training_config(Namespace(**{**OPTIONS, **options}))


def test_without_options_the_config_is_as_it_is_written():
    cfg = config()
    assert cfg.randomness.seed is None
    assert not cfg.resume
    assert not cfg.auto_scale_lr.get("enable", False)
    assert cfg.work_dir == "work_dirs/vit_digits"


def test_seed_and_determinism(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    cfg = config(seed=0, deterministic=True)
    assert (cfg.randomness.seed, cfg.randomness.deterministic) == (0, True)


def test_resume_from_the_work_folder_or_a_file(tmp_path):
    cfg = config(resume="auto", cfg_options={"load_from": "other.pth"})
    assert (cfg.resume, cfg.load_from) == (True, None)
    file = tmp_path / "epoch_1.pth"
    file.touch()
    cfg = config(resume=str(file))
    assert (cfg.resume, cfg.load_from) == (True, str(file))


def test_auto_scale_lr_needs_the_batch_size_of_the_recipe():
    assert config(auto_scale_lr=True).auto_scale_lr.enable
    with pytest.raises(UserError, match="base_batch_size"):
        config(auto_scale_lr=True, cfg_options={"auto_scale_lr": None})


def test_auto_scale_lr_counts_the_images_of_a_step():
    batches = {"auto_scale_lr.base_batch_size": 64, "optim_wrapper.accumulative_counts": 4}
    assert config(auto_scale_lr=True, cfg_options=batches).auto_scale_lr.base_batch_size == 16


def test_a_run_shorter_than_its_warm_up_is_refused():
    with pytest.raises(UserError, match="CosineAnnealingLR begins after 3 epochs and ends after 2"):
        config(cfg_options={"train_cfg.max_epochs": 2})


def test_no_validate():
    cfg = config(no_validate=True)
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None


def test_loaders_of_mmpretrain_get_what_its_own_tools_set():
    cfg = config(cfg_options={"train_dataloader.num_workers": 0})
    assert cfg.train_dataloader.collate_fn.type == "default_collate"
    assert not cfg.train_dataloader.persistent_workers  # torch refuses it without workers
    assert config().train_dataloader.persistent_workers


@pytest.mark.parametrize("on_gpu", [True, False])
def test_mixed_precision_of_a_config_needs_a_gpu(on_gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: on_gpu)
    wrapper = {"optim_wrapper.type": "AmpOptimWrapper", "optim_wrapper.loss_scale": "dynamic"}
    cfg = config(cfg_options=wrapper)
    assert cfg.optim_wrapper.type == ("AmpOptimWrapper" if on_gpu else "OptimWrapper")
    assert ("loss_scale" in cfg.optim_wrapper) is on_gpu
    assert ("No GPU here" in capsys.readouterr().out) is not on_gpu


def test_amp(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert config(amp=True).optim_wrapper.type == "AmpOptimWrapper"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="needs a GPU"):
        config(amp=True)


def test_pretrained_weights_are_the_encoders(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save({"cls_token": torch.zeros(1, 1, 64)}, file)
    init_cfg = config(pretrained=str(file)).model.backbone.init_cfg
    assert init_cfg == dict(type="Pretrained", checkpoint=str(file))


@pytest.mark.parametrize("backbone", [None, "vit_ti16"])
def test_pretrained_may_be_fetched_later_or_a_folder(tmp_path, backbone):
    init_cfg = config(pretrained="hf://org/name", backbone=backbone).model.backbone.init_cfg
    assert init_cfg == dict(type="Pretrained", checkpoint="hf://org/name")
    torch.save({"cls_token": torch.zeros(1, 1, 64)}, tmp_path / "best_top1_epoch_1.pth")
    init_cfg = config(pretrained=str(tmp_path), backbone=backbone).model.backbone.init_cfg
    assert init_cfg == dict(type="Pretrained", checkpoint=str(tmp_path))


SOFT_TEACHER = "mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco"


def test_a_detector_inside_another_model_is_fitted_with_its_settings(tmp_path):
    cfg = read_config(SOFT_TEACHER)
    settings = {f"model.detector.backbone.{k}": v for k, v in SMALL.items()}
    left = training.swap(cfg, "vit_b16", None, {**settings, "train_cfg.max_iters": 1})
    assert left == {"train_cfg.max_iters": 1}
    detector = cfg.model.detector
    assert detector.backbone.embed_dims == 32 and detector.neck.in_channels == 32
    torch.save({"cls_token": torch.zeros(1, 1, 64)}, tmp_path / "weights.pth")
    training.set_pretrained(cfg, str(tmp_path / "weights.pth"))
    assert detector.backbone.init_cfg.checkpoint == str(tmp_path / "weights.pth")


def test_settings_may_be_named_inside_of_arch():
    cfg = read_config("vit_digits")
    assert training.swap(cfg, "vit_b16", None, {"model.backbone.arch.depth": 3}) == {}
    assert cfg.model.backbone.depth == 3
    left = {"model.backbone.pos_interpolation.mode": "bilinear"}  # merged after the swap
    assert training.swap(read_config("vit_digits"), "vit_b16", None, left) == left


def test_a_config_for_tests_alone():
    with pytest.raises(UserError, match="has no train_dataloader and no train_cfg, which training"):
        config(cfg_options={"train_dataloader": None, "train_cfg": None})


def test_compile_goes_for_the_encoder():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = torch.nn.Linear(2, 2)

    model = Model()
    training.compile_backbone(Namespace(model=model))
    assert model.backbone._compiled_call_impl is not None
    assert list(model.state_dict()) == ["backbone.weight", "backbone.bias"]
    with pytest.raises(UserError, match="no backbone"):
        training.compile_backbone(Namespace(model=torch.nn.Linear(1, 1)))


@pytest.mark.parametrize(
    "scope, cores, workers, threads",
    [
        ("mmpretrain", 2, 1, 1),
        ("mmpretrain", 2, 0, 2),
        ("mmpretrain", 8, 2, 6),
        ("mmpretrain", 8, 16, 4),
        ("mmpretrain", 1, 4, 1),
        ("mmdet", 2, 1, 2),
        ("mmseg", 8, 16, 8),
    ],
)
def test_workers_of_classifiers_get_cores_of_their_own(scope, cores, workers, threads, monkeypatch):
    asked = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(training.os, "sched_getaffinity", lambda _: range(cores), raising=False)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    cfg = config(cfg_options={"train_dataloader.num_workers": workers})
    cfg.default_scope = scope
    training.share_cores(cfg)
    assert asked == [threads]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    training.share_cores(cfg)
    assert asked == [threads]  # the user's choice stands


@pytest.mark.parametrize("unused", [True, False])
def test_unused_parameters_are_found_without_a_gpu_too(unused):
    cfg = Config(dict(launcher="slurm", find_unused_parameters=unused))
    training.use_cpu_processes(cfg)
    assert cfg.model_wrapper_cfg.find_unused_parameters == unused
