"""The picture of a prediction: read back what it shows."""

import numpy as np

from vit_backbones.visualization.predictions import draw_prediction, shorten, unused_path

IMAGE = np.zeros((20, 30, 3), np.uint8)
IMAGE[:, :15] = (255, 0, 0)


def test_shows_image_names_and_probabilities_best_on_top():
    figure = draw_prediction(IMAGE, ["cat", "dog"], [0.75, 0.25], "x.png")
    left, right = figure.axes
    assert np.array_equal(left.images[0].get_array(), IMAGE)
    assert left.get_title() == "x.png"
    assert [tick.get_text() for tick in right.get_yticklabels()] == ["cat", "dog"]
    assert [bar.get_width() for bar in right.patches] == [0.75, 0.25]
    assert [text.get_text() for text in right.texts] == ["75.0%", "25.0%"]
    figure.canvas.draw()
    heights = [bar.get_window_extent().y0 for bar in right.patches]
    assert heights[0] > heights[1]


def test_is_written_as_png(tmp_path):
    path = unused_path(tmp_path, "x")
    draw_prediction(IMAGE, ["a"], [1.0]).savefig(path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_pictures_of_equal_names_do_not_overwrite_each_other(tmp_path):
    names = []
    for _ in range(3):
        path = unused_path(tmp_path, "x")
        path.touch()
        names.append(path.name)
    assert names == ["x.png", "x_2.png", "x_3.png"]


def test_long_names_are_cut():
    assert shorten("tench") == "tench"
    assert shorten("a" * 40) == "a" * 27 + "…"
