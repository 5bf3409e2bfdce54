"""The recipes: their numbers, and that each trains as it is written, on a few made-up images.

ImageNet itself was never at hand; the encoders here are shrunk, everything else is the recipe's.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from tests.cli.command import command, options
from tests.configs.test_digit_scenes import classifier_weights
from vit_backbones import build_backbone
from vit_backbones.checkpoint.resizing import resize_patch_kernel
from vit_backbones.cli.config import SHIPPED, read_config

IMAGENET = sorted(path.stem for path in SHIPPED[-1].glob("*_imagenet*.py"))
DIGITS = ["vit_digits", "vit_rope_digits", "vit_mean_digits", "swin_digits", "mvit_digits"]
MANY_DIGITS = {
    "vit_many_digits": "vit_mean_digits",
    "swin_many_digits": "swin_digits",
    "swin_large_digits": "swin_many_digits",
}
CONFIGS = [*IMAGENET, "vit_cifar10", *DIGITS, *MANY_DIGITS]
SMALL = [
    "model.backbone.embed_dims=32",
    "model.backbone.depth=2",
    "model.backbone.num_heads=2",
    "model.head.in_channels=32",
]
SMALL_STAGES = [
    "model.backbone.embed_dims=32",
    "model.backbone.depths=(1,1)",
    "model.head.in_channels=64",
]
FEW = [
    "train_dataloader.dataset.indices=8",
    "train_dataloader.batch_size=4",
    "train_dataloader.num_workers=0",
    "val_dataloader.dataset.indices=4",
    "val_dataloader.batch_size=4",
    "val_dataloader.num_workers=0",
]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory) -> Path:
    """A folder laid out as ImageNet: 1,000 classes with one image each, all the same file."""
    root = tmp_path_factory.mktemp("imagenet")
    noise = np.random.RandomState(0).randint(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "noise.JPEG")
    for split in ("train", "val"):
        for label in range(1000):
            folder = root / split / f"n{label:08d}"
            folder.mkdir(parents=True)
            (folder / "noise.JPEG").hardlink_to(root / "noise.JPEG")
    return root


@pytest.fixture
def cifar10(tmp_path, monkeypatch) -> Path:
    from mmpretrain.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)  # checksums of the real one
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    generator = np.random.RandomState(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        pixels = generator.randint(0, 256, (4, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps(dict(data=pixels, labels=[0, 1, 2, 9])))
    return tmp_path


@pytest.mark.parametrize("name", CONFIGS)
def test_the_model_can_be_built_at_its_full_size(name):
    cfg = read_config(name)
    init_default_scope("mmpretrain")
    cfg.model.data_preprocessor = cfg.model.get("data_preprocessor") or cfg.data_preprocessor
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
        size = cfg.model.backbone.get("img_size", 224)
        scores = model(torch.zeros(1, 3, size, size), mode="tensor")
        features = model.extract_feat(torch.zeros(1, 3, size, size))
        assert model.head(features).shape == (1, cfg.model.head.num_classes)
    assert scores is not None


@pytest.mark.parametrize(
    "name",
    [
        "vit_b16_imagenet",
        "deit_s16_imagenet",
        "vit_s16_imagenet",
        "swin_t_imagenet",
        "swinv2_t_imagenet",
        "mvitv2_t_imagenet",
    ],
)
def test_imagenet_recipes_train(name, imagenet, tmp_path):
    epochs = ["train_cfg.max_epochs=1", "param_scheduler.0.end=1", "param_scheduler.1.begin=0"]
    small = SMALL if name.startswith(("vit_", "deit_")) else SMALL_STAGES
    result = command(
        "train", name, "--data-root", imagenet, "--work-dir", tmp_path,
        *options(*small, *FEW, *epochs),
    )  # fmt: skip
    assert (result.status, result.err.count("Traceback")) == (0, 0)
    assert "Best accuracy/top1" in result.out
    checkpoint = torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    averaged = name in ("vit_b16_imagenet", "deit_s16_imagenet")
    assert ("ema_state_dict" in checkpoint) is averaged


def test_fine_tuning_at_384_starts_from_the_weights_it_is_given(imagenet, tmp_path):
    arch = dict(embed_dims=32, depth=2, num_heads=2)
    trained = build_backbone("vit_l16", img_size=224, **arch)
    torch.save(trained.state_dict(), tmp_path / "weights.pth")
    few = ["train_cfg.max_iters=1", "train_cfg.val_interval=1", "optim_wrapper.optimizer.lr=0.0"]
    schedule = ["param_scheduler.0.end=1", "param_scheduler.1.begin=0"]
    result = command(
        "train", "vit_l16_imagenet_384", "--data-root", imagenet, "--work-dir", tmp_path,
        "--pretrained", tmp_path / "weights.pth",
        *options(*SMALL, *FEW, *few, *schedule, "default_hooks.checkpoint.interval=1"),
    )  # fmt: skip
    assert (result.status, result.err.count("Traceback")) == (0, 0)
    weights = torch.load(tmp_path / "iter_1.pth", weights_only=True)["state_dict"]
    for key, value in trained.state_dict().items():
        if key != "pos_embed":
            assert torch.equal(weights[f"backbone.{key}"], value)
    assert weights["backbone.pos_embed"].shape == (1, 1 + 24 * 24, 32)  # resized from 14 x 14


def test_cifar10_trains_and_predicts(cifar10, tmp_path):
    epochs = ["train_cfg.max_epochs=1", "param_scheduler.0.end=1", "param_scheduler.1.begin=0"]
    result = command(
        "train", "vit_cifar10", "--data-root", cifar10, "--work-dir", tmp_path / "run",
        *options(*SMALL, *FEW, *epochs),
    )  # fmt: skip
    assert (result.status, result.err.count("Traceback")) == (0, 0)
    example = np.asarray(Image.open(tmp_path / "run/example.png"))
    first = pickle.loads((cifar10 / "cifar-10-batches-py/test_batch").read_bytes())["data"][0]
    assert np.array_equal(example, first.reshape(3, 32, 32).transpose(1, 2, 0))  # RGB as it is


@pytest.mark.parametrize("name", MANY_DIGITS)
def test_many_digits_start_from_the_classifier_of_one(name, tmp_path):
    file = classifier_weights(MANY_DIGITS[name], tmp_path / "classifier")
    one = torch.load(file, weights_only=True)["state_dict"]
    result = command(
        "train", name, "--work-dir", tmp_path / "run",
        *options(*FEW, "train_cfg.max_epochs=1", "optim_wrapper.optimizer.lr=0.0",
                 "param_scheduler.0.end=1", "param_scheduler.1.begin=0",
                 f"model.backbone.init_cfg.checkpoint={file.parent}"),
    )  # fmt: skip
    assert (result.status, result.err.count("Traceback")) == (0, 0), result.err
    weights = torch.load(tmp_path / "run/epoch_1.pth", weights_only=True)["state_dict"]
    for key, value in one.items():
        if name == "swin_large_digits" and key == "backbone.patch_embed.proj.weight":
            value = resize_patch_kernel(value, (4, 4))  # from 2 x 2
        near = torch.allclose(weights[key], value, atol=1e-4)
        assert near, key  # the schedule ends at a rate of 1e-5, not 0


def test_deit_is_as_published():
    """Touvron et al. 2021, table 9, and the defaults of DeiT's main.py."""
    for name, per_gpu, gpus in (("vit_b16_imagenet", 128, 8), ("deit_s16_imagenet", 256, 4)):
        cfg = read_config(name)
        assert cfg.train_dataloader.batch_size * gpus == cfg.auto_scale_lr.base_batch_size == 1024
        assert cfg.train_dataloader.batch_size == per_gpu
        optimizer = cfg.optim_wrapper.optimizer
        assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", 1e-3, 0.05)
        assert cfg.train_cfg.max_epochs == 300
        assert cfg.param_scheduler[0].end == 5
        assert cfg.model.backbone.drop_path_rate == 0.1
        assert cfg.model.head.loss.label_smooth_val == 0.1
        assert [a.alpha for a in cfg.model.train_cfg.augments] == [0.8, 1.0]
        assert cfg.train_dataloader.sampler == dict(
            type="RepeatAugSampler", num_repeats=3, shuffle=True
        )
        assert cfg.custom_hooks[0].momentum == pytest.approx(1 - 0.99996)
        erasing = next(t for t in cfg.train_pipeline if t.type == "RandomErasing")
        assert erasing.erase_prob == 0.25


def test_layer_wise_decay_is_one_option_away():
    option = {"optim_wrapper.paramwise_cfg.layer_decay_rate": 0.75}
    for name in IMAGENET:
        cfg = read_config(name, option)
        assert cfg.optim_wrapper.constructor.endswith("LayerDecayOptimWrapperConstructor")


@pytest.mark.parametrize(
    "name, drop_path, lr, decay, epochs, warm_up, batch, clip, size",
    [
        ("swin_t_imagenet", 0.2, 1e-3, 0.05, 300, 20, 1024, 5.0, 224),
        ("swin_s_imagenet", 0.3, 1e-3, 0.05, 300, 20, 1024, 5.0, 224),
        ("swin_b_imagenet", 0.5, 1e-3, 0.05, 300, 20, 1024, 5.0, 224),
        ("swinv2_t_imagenet", 0.2, 1e-3, 0.05, 300, 20, 1024, 5.0, 256),
        ("swin_b_imagenet_384", 0.5, 4e-5, 1e-8, 30, 5, 1024, 5.0, 384),
        ("mvitv2_t_imagenet", 0.1, 2e-3, 0.05, 300, 70, 2048, 1.0, 224),
        ("mvitv2_s_imagenet", 0.1, 2e-3, 0.05, 300, 70, 2048, 1.0, 224),
        ("mvitv2_b_imagenet", 0.3, 2e-3, 0.05, 300, 70, 2048, 1.0, 224),
    ],
)
def test_swin_and_mvit_are_as_published(
    name, drop_path, lr, decay, epochs, warm_up, batch, clip, size
):
    """Liu et al. 2021, Liu et al. 2022, Li et al. 2022, and their authors' configs."""
    cfg = read_config(name)
    assert cfg.model.backbone.drop_path_rate == drop_path
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.weight_decay) == ("AdamW", decay)
    assert optimizer.lr == pytest.approx(lr)
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.param_scheduler[0].end == warm_up
    assert cfg.auto_scale_lr.base_batch_size == batch
    assert cfg.optim_wrapper.clip_grad.max_norm == clip
    train = cfg.train_dataloader.dataset.pipeline
    assert train[1].scale == size
    assert [t.num_policies for t in train if t.type == "RandAugment"] == [
        6 if "mvit" in name else 2
    ]
    shown = {t.get("crop_size", t.get("scale")) for t in cfg.val_dataloader.dataset.pipeline[1:-1]}
    assert size in shown or (size, size) in shown
    assert cfg.test_dataloader == cfg.val_dataloader
