import pytest

from vit_backbones.datasets.channels import starts_from_rgb

FILES = [dict(type="mmcv.LoadImageFromFile"), dict(type="PackInputs")]
PIXELS = [dict(type="PackInputs")]


@pytest.mark.parametrize(
    "pipeline, to_rgb, expected",
    [
        (FILES, True, False),  # read as BGR, the model swaps
        (FILES, False, False),  # read as BGR, the model wants BGR (Caffe's)
        (PIXELS, False, True),  # CIFAR-10: held as the model wants them
        (PIXELS, True, False),
    ],
)
def test_order_of_the_channels(pipeline, to_rgb, expected):
    assert starts_from_rgb(pipeline, to_rgb) is expected
