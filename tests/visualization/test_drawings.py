"""Boxes, masks and maps, read back from the pixels of the pictures."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from vit_backbones.visualization.canvas import (
    Labels,
    canvas,
    class_colors,
    enlargement,
    outline,
    readable_on,
)
from vit_backbones.visualization.detections import draw_detections
from vit_backbones.visualization.segmentations import (
    draw_segments,
    draw_semantic_map,
    innermost,
)

BLACK = np.zeros((64, 128, 3), np.uint8)
RED, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


def pixels(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


@pytest.mark.parametrize(
    "height, width, factor",
    [(1, 1, 640), (128, 128, 5), (64, 256, 3), (640, 480, 1), (800, 1333, 1)],
)
def test_small_images_are_enlarged_by_whole_pixels(height, width, factor):
    assert enlargement(height, width) == factor


def test_the_canvas_shows_each_pixel_as_a_square():
    image = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    picture = pixels(canvas(image)[0])
    np.testing.assert_array_equal(picture, image.repeat(10, axis=0).repeat(10, axis=1))


def test_panels_stand_side_by_side_with_room_for_a_legend():
    picture = pixels(canvas(BLACK, panels=2, margin=100)[0])
    assert picture.shape == (320, 2 * 640 + 8 + 100, 3)
    assert (picture[:, :640] == 0).all()
    assert (picture[:, 648:1288] == 0).all()
    assert (picture[:, 1288:] == 255).all()


def test_a_box_lies_on_the_edges_of_its_pixels():
    figure = draw_detections(BLACK, np.array([[20.0, 40, 60, 60]]), ["x"], [0.5], [RED])
    red = (pixels(figure) == (255, 0, 0)).all(axis=2)
    edge = red[:, 200]  # through the middle; the label is left of it
    assert np.flatnonzero(edge).min() == pytest.approx(40 * 5, abs=2)
    assert np.flatnonzero(edge).max() == pytest.approx(60 * 5, abs=2)
    edge = red[50 * 5]
    assert np.flatnonzero(edge).min() == pytest.approx(20 * 5, abs=2)
    assert np.flatnonzero(edge).max() == pytest.approx(60 * 5, abs=2)


def test_a_mask_is_tinted_and_nothing_else():
    mask = np.zeros((64, 128), bool)
    mask[30:50, 70:90] = True
    figure = draw_detections(BLACK, np.array([[70.0, 30, 90, 50]]), ["x"], [0.5], [RED], mask[None])
    picture = pixels(figure)
    assert picture[200, 400].tolist() == pytest.approx([255 * 0.35, 0, 0], abs=2)
    assert (picture[200, :340] == 0).all()
    assert (picture[200, 460:] == 0).all()


def test_labels_say_class_and_score_and_stay_in_the_picture_without_covering_each_other():
    boxes = np.array([[0.0, 0, 128, 64]] * 4 + [[100, 50, 128, 64]] * 2)
    names = [f"class {i}" for i in range(len(boxes))]
    figure = draw_detections(BLACK, boxes, names, [0.5] * len(boxes), [RED] * len(boxes))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == [f"{name} 0.50" for name in names]
    extents = [text.get_window_extent() for text in axes.texts]
    for i, extent in enumerate(extents):
        assert extent.x0 >= 0
        assert extent.y0 >= 0
        assert extent.x1 <= 640
        assert extent.y1 <= 320
        assert not any(extent.overlaps(other) for other in extents[:i])


def test_a_label_takes_the_place_that_covers_least_where_all_are_taken():
    _, (axes,) = canvas(BLACK)
    labels = Labels(axes)
    for _ in range(3):
        labels.add("same", [(10, 10, "top left"), (60, 30, "top left")], RED)
    assert [text.xy for text in axes.texts[:2]] == [(10, 10), (60, 30)]
    assert len(axes.texts) == 3


def test_nothing_found_is_the_image_alone():
    image = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    figure = draw_detections(image, np.zeros((0, 4)), [], [], [])
    np.testing.assert_array_equal(pixels(figure)[5::10, 5::10], image)


def test_a_semantic_map_is_blended_and_its_legend_names_the_classes():
    labels = np.zeros((64, 128), int)
    labels[:, 64:] = 2
    labels[:10, :10] = 7  # not to be shown
    names = {0: "water 50%", 2: "sky 50%"}
    figure = draw_semantic_map(BLACK, labels, names, [RED, RED, GREEN])
    picture = pixels(figure)
    assert (picture[:, :640] == 0).all()  # the image as it is
    right = picture[:, 648:]
    assert right[200, 100].tolist() == pytest.approx([255 * 0.55, 0, 0], abs=2)
    assert right[200, 500].tolist() == pytest.approx([0, 255 * 0.55, 0], abs=2)
    assert right[10, 10].tolist() == [0, 0, 0]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(names.values())
    extent = legend.get_window_extent()
    assert extent.x0 >= 648 + 640
    assert extent.x1 <= picture.shape[1]


def test_only_enlarged_maps_have_outlines():
    for size, has_lines in ((64, True), (640, False)):
        labels = np.zeros((size, size), int)
        labels[:, size // 2 :] = 1
        figure = draw_semantic_map(
            np.zeros((size, size, 3), np.uint8), labels, {0: "a", 1: "b"}, [RED, GREEN]
        )
        row = pixels(figure)[320, 648 : 648 + 640]
        assert (row[300:340, 2] > 0).any() == has_lines  # white holds blue, the classes do not


def test_a_legend_longer_than_the_picture_says_how_many_are_left():
    names = {i: f"class {i}" for i in range(40)}
    figure = draw_semantic_map(BLACK, np.zeros((64, 128), int), names, [RED] * 40)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[-1] == f"and {41 - len(texts)} more"
    assert figure.legends[0].get_window_extent().y0 >= 0


def test_dollars_in_names_are_dollars():
    name, mask = "x_$\\frac$", np.zeros((64, 128), bool)
    mask[:20] = True
    pixels(draw_detections(BLACK, np.array([[0.0, 0, 9, 9]]), [name], [0.5], [RED]))
    pixels(draw_semantic_map(BLACK, mask.astype(int), {1: name}, [RED, GREEN]))
    pixels(draw_segments(BLACK, mask[None], [name], [RED]))


def test_an_outline_lies_on_the_border_of_its_mask():
    mask = np.zeros((64, 128), bool)
    mask[30:50, 70:90] = True
    axes = canvas(BLACK)[1][0]
    outline(axes, mask, "red", width=1)
    (path,) = axes.collections[0].get_paths()
    assert path.vertices.min(axis=0).tolist() == pytest.approx([70, 30])
    assert path.vertices.max(axis=0).tolist() == pytest.approx([90, 50])


def test_segments_carry_their_names_inside():
    masks = np.zeros((2, 64, 128), bool)
    masks[0, :, :100] = True
    masks[0, 20:30, 10:90] = False
    masks[1, 20:30, 10:90] = True
    figure = draw_segments(BLACK, masks, ["sea", "ship"], [RED, GREEN])
    written = {text.get_text(): text.xy for text in figure.axes[1].texts}
    for name, mask in zip(("sea", "ship"), masks):
        x, y = written[name]
        assert mask[int(y), int(x)]
    assert pixels(figure)[200, 648 + 600].tolist() == [0, 0, 0]  # no segment


def test_the_innermost_pixel_is_farthest_from_border_and_edge():
    mask = np.zeros((9, 20), bool)
    mask[:, :9] = True
    assert innermost(mask) == (4.5, 4.5)


def test_masks_that_cover_all_or_nothing_have_no_outline():
    masks = np.stack([np.ones((64, 128), bool), np.zeros((64, 128), bool)])
    picture = pixels(draw_segments(BLACK, masks[:1], ["all"], [RED]))
    np.testing.assert_allclose(picture[300, 648:] - (255 * 0.55, 0, 0), 0, atol=2)
    boxes = np.array([[0.0, 0, 128, 64]] * 2)
    draw_detections(BLACK, boxes, ["a", "b"], [1, 1], [RED, RED], masks)


def test_classes_have_the_palettes_colours_or_different_ones():
    assert class_colors(["a", "b"], [[255, 0, 0], [0, 0, 51]]) == [(1, 0, 0), (0, 0, 0.2)]
    assert class_colors(["a", "b"], [[255, 0, 0]]) == class_colors(["a", "b"], None)
    assert class_colors(["a"], "random") == class_colors(["a"])
    colors = np.array(class_colors([str(i) for i in range(30)]))
    distances = np.abs(colors[:, None] - colors[None]).max(axis=2)
    assert distances[np.triu_indices(30, 1)].min() > 0.05


def test_text_is_black_on_light_and_white_on_dark():
    assert [readable_on(c) for c in ((1, 1, 0), (0, 0, 1))] == ["black", "white"]
