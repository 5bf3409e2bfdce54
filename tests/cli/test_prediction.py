"""predict.py with models of mmdet and mmseg, tiny and untrained."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

import vit_backbones  # noqa: F401  (first: it makes mmdet importable)
from tests.cli.command import command
from tests.cli.test_other_libraries import shipped
from tests.full_disk import full_disk
from vit_backbones import UserError
from vit_backbones.cli.config import read_config
from vit_backbones.cli.prediction import read_image
from vit_backbones.cli.predictors import load_predictor
from vit_backbones.cli.predictors.detector import Detector
from vit_backbones.cli.predictors.model import TrainedModel
from vit_backbones.cli.predictors.segmenter import SemanticMap

TINY_SWIN = dict(
    _delete_=True,
    type="vit_backbones.SwinTransformer",
    arch=dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=4),
    out_indices=(0, 1, 2, 3),
)
SMALL = dict(scale=(96, 96), num_queries=12, num_layers=1, feedforward_channels=16)


def shrink(node) -> None:
    """Small images, few queries and one layer, in place."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key in SMALL:
            node[key] = SMALL[key]
        elif isinstance(value, (dict, list)):
            shrink(value)


def make(folder: Path, library: str, config: str, changes: dict, meta: dict) -> tuple[Path, Path]:
    """A config file and a checkpoint of its untrained model."""
    cfg = Config.fromfile(shipped(library, config))
    shrink(cfg._cfg_dict)
    cfg.merge_from_dict(changes)
    path, checkpoint = folder / "config.py", folder / "weights.pth"
    cfg.dump(path)
    torch.manual_seed(0)
    init_default_scope(library)
    model = import_module(f"{library}.registry").MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), checkpoint)
    return path, checkpoint


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> tuple[Path, Path]:
    """Mask R-CNN; the checkpoint knows no class names, so those of COCO hold."""
    changes = {
        "model.backbone": TINY_SWIN,
        "model.neck.in_channels": [8, 16, 32, 64],
        "model.test_cfg.rcnn.score_thr": 0.0,  # untrained, it is sure of nothing
        "model.test_cfg.rcnn.max_per_img": 6,
    }
    config = "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
    return make(tmp_path_factory.mktemp("detector"), "mmdet", config, changes, {})


@pytest.fixture(scope="module")
def panoptic(tmp_path_factory) -> tuple[Path, Path]:
    changes = {
        "model.backbone": TINY_SWIN,
        "model.panoptic_head.in_channels": [8, 16, 32, 64],
        "model.test_cfg.object_mask_thr": 0.0,
        "model.test_cfg.iou_thr": 0.0,
    }
    config = "mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py"
    return make(tmp_path_factory.mktemp("panoptic"), "mmdet", config, changes, {})


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> tuple[Path, Path]:
    """An FCN whose checkpoint brings names of its own."""
    bn = dict(type="BN", requires_grad=True)
    changes = {
        "model.pretrained": None,
        "model.backbone": TINY_SWIN,
        "model.decode_head": dict(in_channels=64, channels=8, norm_cfg=bn, num_classes=3),
        "model.auxiliary_head": dict(in_channels=32, channels=8, norm_cfg=bn, num_classes=3),
    }
    meta = dict(dataset_meta=dict(classes=("water", "sand", "sky"), palette=[[0, 0, 255]] * 3))
    config = "fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py"
    return make(tmp_path_factory.mktemp("segmenter"), "mmseg", config, changes, meta)


GRAY = """
default_scope = "mmpretrain"
custom_imports = dict(imports=["vit_backbones"])
data_preprocessor = dict(mean=[127.5], std=[127.5], to_rgb=False)
model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="vit_backbones.VisionTransformer",
        arch=dict(embed_dims=16, depth=1, num_heads=2),
        img_size=32,
        in_channels=1,
    ),
    head=dict(type="LinearClsHead", num_classes=1002, in_channels=16),
)
test_pipeline = [
    dict(type="LoadImageFromFile", color_type="grayscale"),
    dict(type="Resize", scale=(32, 32)),
    dict(type="PackInputs"),
]
test_dataloader = dict(dataset=dict(type="ImageNet", pipeline=test_pipeline))
"""


@pytest.fixture(scope="module")
def gray_classifier(tmp_path_factory) -> tuple[Path, Path]:
    """Of images of one channel, sure of a class beyond the 1,000 that ImageNet has."""
    folder = tmp_path_factory.mktemp("gray")
    (folder / "config.py").write_text(GRAY)
    cfg = read_config(str(folder / "config.py"))
    init_default_scope("mmpretrain")
    model = import_module("mmpretrain.registry").MODELS.build(cfg.model)
    with torch.no_grad():
        model.head.fc.bias[1001] = 9.0
    torch.save(dict(state_dict=model.state_dict()), folder / "weights.pth")
    return folder / "config.py", folder / "weights.pth"


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("image") / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).resize((128, 96)).save(path)
    return path


def test_objects_with_boxes_and_masks(detector, image, tmp_path):
    status, out, err = command(
        "predict", *detector, image, "--score-thr", 0, "--top", 4, "--out", tmp_path
    )
    assert (status, err.count("Error")) == (0, 0), err
    assert "mask, pixels" in out
    assert out.count("│") == 4 * 5  # rows and borders
    assert "2 more, with scores up to 0." in out
    with Image.open(tmp_path / "photo.png") as picture:
        assert picture.size == (640, 480)


def test_objects_are_those_that_mmdet_finds(detector, image):
    from mmdet.apis import inference_detector
    from mmdet.datasets import CocoDataset

    config, checkpoint = detector
    predictor = load_predictor(read_config(str(config)), str(checkpoint), "cpu", score_thr=0.0)
    found = predictor(image, read_image(image))
    assert isinstance(predictor, Detector)
    model = predictor.model.model
    model.cfg = Config.fromfile(config)
    expected = inference_detector(model, str(image)).pred_instances
    assert len(expected) == 6
    np.testing.assert_array_equal(found.boxes, expected.bboxes)
    np.testing.assert_array_equal(found.masks, expected.masks)
    assert sorted(found.scores, reverse=True) == expected.scores.tolist()
    names = CocoDataset.METAINFO["classes"]
    assert found.names == [names[label] for label in expected.labels]


def test_boxes_of_masks_where_a_model_has_none(detector):
    """SOLO's are all zero."""
    from mmengine.structures import InstanceData

    predictor = Detector.__new__(Detector)
    predictor.model, predictor.top, predictor.score_thr = mock.Mock(), None, 0.0
    predictor.model.colors.return_value = [(1, 0, 0)]
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[0, 2:5, 1:7] = True
    found = InstanceData(
        scores=torch.ones(1),
        labels=torch.zeros(1, dtype=int),
        bboxes=torch.zeros(1, 4),
        masks=masks,
    )
    assert predictor._objects(np.zeros((8, 8, 3), np.uint8), found).boxes.tolist() == [[1, 2, 7, 5]]


def test_a_classifier_loads_images_as_its_config_does(gray_classifier, image, tmp_path):
    path = tmp_path / "[raw] a$^$.png"  # neither rich's markup nor matplotlib's mathematics
    path.write_bytes(image.read_bytes())
    status, out, err = command(
        "predict", *gray_classifier, path, "--top", 2, "--out", tmp_path / "pictures"
    )
    assert status == 0, err
    assert str(path) in out
    assert "class 1001" in out  # the data set has no name for it
    assert (tmp_path / "pictures" / path.name).stat().st_size > 0


def test_a_classifier_whose_config_has_no_test_data(gray_classifier, image):
    status, _, err = command(
        "predict", *gray_classifier, image, "--cfg-options", "test_dataloader=None"
    )
    assert (status, "has no test_dataloader with a pipeline" in err) == (2, True)


def test_nothing_sure_enough(detector, image, tmp_path):
    status, out, _ = command("predict", *detector, image, "--score-thr", 1, "--out", tmp_path)
    assert status == 0
    assert "No object with a score of 1.0 or more; the best has 0." in out
    picture = np.asarray(Image.open(tmp_path / "photo.png").convert("RGB"))
    np.testing.assert_array_equal(picture[2::5, 2::5], read_image(image))  # nothing drawn


def test_panoptic_segments(panoptic, image, tmp_path):
    config, checkpoint = panoptic
    predictor = load_predictor(read_config(str(config)), str(checkpoint), "cpu")
    result = predictor(image, read_image(image))
    raw = predictor.model(image, read_image(image)).pred_panoptic_seg.sem_seg[0]
    labelled = raw % 1000 != 133  # one above the classes: none
    np.testing.assert_array_equal(result.masks.any(axis=0), labelled)
    assert result.masks.sum(axis=0).max() == 1
    areas = result.masks.sum(axis=(1, 2)).tolist()
    assert areas == sorted(areas, reverse=True)
    assert len(areas) > 1
    status, out, _ = command("predict", *panoptic, image, "--top", 1, "--out", tmp_path)
    assert status == 0
    assert result.names[0] in out
    assert f"{len(areas) - 1} smaller" in out
    assert (tmp_path / "photo.png").stat().st_size > 0


def test_a_semantic_map_is_that_of_mmseg(segmenter, image, tmp_path):
    from mmseg.apis import inference_model

    config, checkpoint = segmenter
    predictor = load_predictor(read_config(str(config)), str(checkpoint), "cpu")
    result = predictor(image, read_image(image))
    model = predictor.model.model
    model.cfg = Config.fromfile(config)
    expected = inference_model(model, str(image)).pred_sem_seg.data[0].numpy()
    np.testing.assert_array_equal(result.labels, expected)
    status, out, _ = command("predict", *segmenter, image, "--out", tmp_path)
    assert status == 0
    for label in np.unique(expected):
        assert f"{('water', 'sand', 'sky')[label]}" in out
        assert f"{(expected == label).mean():.1%}" in out


def test_an_image_that_is_loaded_lying_is_refused(segmenter, image, tmp_path):
    path, exif = tmp_path / "lying.jpg", Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    with Image.open(image) as upright:
        upright.save(path, exif=exif)
    lying = "test_dataloader.dataset.pipeline.0.color_type=color_ignore_orientation"
    status, _, err = command("predict", *segmenter, path, "--cfg-options", lying)
    assert status == 2
    assert f"{path} is of 96 x 128 pixels, and the config's pipeline loads it as 128 x 96" in err


def test_the_background_of_a_semantic_map_stays_as_it_is():
    image = np.full((64, 64, 3), 200, np.uint8)
    labels = np.zeros((64, 64), int)
    labels[:, 32:] = 1
    names, colors = {0: "background", 1: "three"}, [(0, 0, 0), (1, 0, 0)]
    figure = SemanticMap(image, labels, names, colors, left_out=0).figure()
    assert [text.get_text() for text in figure.legends[0].texts] == ["three  50.0%"]
    figure.canvas.draw()
    overlay = figure.axes[1].get_window_extent().bounds
    picture = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3]  # rows from the bottom
    x, y, width, height = (int(value) for value in overlay)
    assert picture[y + height // 2, x + width // 4].tolist() == [200, 200, 200]
    assert picture[y + height // 2, x + 3 * width // 4].tolist() != [200, 200, 200]


def test_the_checkpoint_names_and_colours_the_classes(segmenter, tmp_path):
    config, checkpoint = segmenter
    model = TrainedModel(read_config(str(config)), str(checkpoint), "cpu")
    assert model.classes == ("water", "sand", "sky")
    assert model.colors()[2] == (0, 0, 1)
    weights = torch.load(checkpoint, weights_only=True)
    torch.save(weights["state_dict"], tmp_path / "bare.pth")
    model = TrainedModel(read_config(str(config)), str(tmp_path / "bare.pth"), "cpu")
    assert model.classes[:2] == ("wall", "building")  # the config's data set, ADE20K


def test_an_unreadable_image_is_named_and_the_others_go_on(segmenter, image, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(image.read_bytes()[:40])
    status, out, err = command("predict", *segmenter, broken, image)
    assert status == 2
    assert err.count(f"{broken} can't be read as an image") == 1
    assert "1 of 2 images can't be read" in err
    assert str(image) in out


def test_an_image_that_the_pipeline_refuses_is_named_and_the_others_go_on(
    segmenter, image, tmp_path
):
    Image.new("RGB", (2000, 3)).save(tmp_path / "wide.png")
    status, out, err = command("predict", *segmenter, tmp_path / "wide.png", image)
    assert (status, str(image) in out) == (2, True)
    assert f"{tmp_path / 'wide.png'} can't be processed: of 2000 x 3 pixels" in err
    assert "OpenCV asks for inv_scale" in err and "1 of 2 images can't be" in err


@pytest.mark.parametrize(
    "size, reason", [(0, "the file is empty, 0 bytes"), (300, "it is damaged, cut short")]
)
def test_the_reason_of_an_unreadable_image_in_words(size, reason, image, tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(image.read_bytes()[:size])
    with pytest.raises(UserError, match=f"x.png can't be read as an image: {reason}"):
        read_image(path)


def test_a_picture_that_the_disk_can_not_hold(segmenter, image, tmp_path):
    with full_disk():
        status, _, err = command("predict", *segmenter, image, "--out", tmp_path)
    assert (status, f"cannot write {tmp_path / 'photo.png'}" in err) == (2, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--device", "cuda:99"], "--device cuda:99 can't be used"),
        (["--device", "gpu"], "--device gpu can't be used"),
        (["--top", "0"], "--top: expected 1 or more, got 0"),
        (["--score-thr", "7"], "--score-thr: expected a number from 0 to 1, got 7"),
        (["--score-thr", "nan"], "--score-thr: expected a number from 0 to 1, got nan"),
        (["--out", __file__], f"{__file__} is a file; choose another one"),
    ],
)
def test_options_that_do_not_serve(arguments, expected, segmenter, image):
    status, _, err = command("predict", *segmenter, image, *arguments)
    assert status == 2
    assert expected in err


def test_a_config_of_no_library(image, tmp_path):
    config, checkpoint = tmp_path / "config.py", tmp_path / "weights.pth"
    config.write_text("model = dict(type='ResNet')\n")
    torch.save(dict(state_dict=dict(a=torch.zeros(1))), checkpoint)
    status, _, err = command("predict", config, checkpoint, image)
    assert (status, "default_scope" in err) == (2, True)
