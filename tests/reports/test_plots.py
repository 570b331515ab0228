"""The pictures show the numbers they are given, and odd input doesn't break them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from tf_simclr.evaluation.label_efficiency import LabelEfficiency
from tf_simclr.evaluation.logistic_regression import PathPoint
from tf_simclr.reports import plots


@pytest.fixture
def figure(monkeypatch):
    """The figure of the last plot, before it became a PNG."""
    drawn: list[Figure] = []
    to_png = plots._png

    def keep(figure):
        drawn.append(figure)
        return to_png(figure)

    monkeypatch.setattr(plots, "_png", keep)
    return lambda: drawn[-1]


def is_picture(png: bytes) -> bool:
    pixels = imread(io.BytesIO(png))
    return min(pixels.shape[:2]) > 50 and pixels[..., :3].std() > 0 and len(png) < 500_000


def texts(panel) -> list[str]:
    return [text.get_text() for text in panel.texts]


def test_training_curves_have_a_panel_a_column(tmp_path, figure):
    path = tmp_path / "metrics.csv"
    path.write_text(
        "epoch,step,images,contrastive_loss,knn_top1,note,empty\n"
        "1,5,50,8.5,,a,\n2,10,100,7.5,61,b,\n3,15,150,7.0,,c,\n"
    )
    assert is_picture(plots.training_curves(path))
    panels = [panel for panel in figure().axes if panel.get_visible()]
    assert [panel.get_title() for panel in panels] == ["contrastive loss", "knn top1"]
    np.testing.assert_array_equal(panels[0].lines[0].get_xydata(), [[1, 8.5], [2, 7.5], [3, 7.0]])
    np.testing.assert_array_equal(panels[1].lines[0].get_xydata(), [[2, 61]])  # one point, so a marker
    assert panels[1].lines[0].get_marker() == "o"


def test_held_out_figures_are_dashed_beside_the_trainings_of_the_same_name(tmp_path, figure):
    training, held_out = tmp_path / "metrics.csv", tmp_path / "held_out.csv"
    training.write_text("step,loss,online_loss\n5,8.5,1\n10,7.5,2\n")
    held_out.write_text("step,loss,other\n10,9.5,3\n")
    assert is_picture(plots.training_curves(training, held_out))
    shown, alone = (panel for panel in figure().axes if panel.get_visible())
    assert [line.get_linestyle() for line in shown.lines] == ["-", "--"]
    np.testing.assert_array_equal(shown.lines[1].get_xydata(), [[10, 9.5]])
    assert len(alone.lines) == 1


@pytest.mark.parametrize("content", ["", "epoch,loss\n", "loss\n1\n2\n", "epoch,loss\n1,nan\n"])
def test_training_curves_of_next_to_nothing(tmp_path, content):
    path = tmp_path / "metrics.csv"
    path.write_text(content)
    assert plots.training_curves(path).startswith(b"\x89PNG")


def test_confusion_matrix_counts_rows_as_percent(figure):
    labels, predictions = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 2, 1, 1])
    assert is_picture(plots.confusion_matrix(labels, predictions, ["cat", "dog", "gnu with $ and ^"]))
    panel = figure().axes[0]
    expected = [[75, 0, 25], [0, 100, 0], [0, 0, 0]]
    np.testing.assert_allclose(panel.images[0].get_array(), expected)
    assert sorted(texts(panel)) == ["100", "25", "75"]


def test_class_accuracy_is_sorted_and_leaves_absent_classes_out(figure):
    labels, predictions = np.array([0, 0, 0, 1, 3, 3]), np.array([0, 1, 1, 1, 3, 0])
    assert is_picture(plots.class_accuracy(labels, predictions, ["a", "b", "c", "d"]))
    panel = figure().axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["b", "d", "a"]
    np.testing.assert_allclose([bar.get_width() for bar in panel.patches], [100, 50, 100 / 3])
    assert "50.0" in panel.get_xlabel()  # 3 of 6 images


def test_class_accuracy_of_many_classes_shows_best_and_worst(figure):
    labels = np.repeat(np.arange(100), 100)
    predictions = np.where(np.tile(np.arange(100), 100) < labels, labels, (labels + 1) % 100)  # class c: c %
    plots.class_accuracy(labels, predictions, [str(c) for c in range(100)])
    shown = [label.get_text() for label in figure().axes[0].get_yticklabels()]
    assert shown == [str(c) for c in [*range(99, 84, -1), *range(14, -1, -1)]]


def test_neighbour_grid_colours_by_class(figure):
    images = np.random.default_rng(0).random((2, 3, 8, 8, 3))
    names = [["cat", "cat", "dog"], ["cat", "dog", "dog"]]
    assert is_picture(plots.neighbour_grid(images[:, 0], images, ["cat", "dog"], names))
    panels = np.array(figure().axes).reshape(2, 4)
    same = [[panel.spines["top"].get_edgecolor() for panel in row] for row in panels]
    green, orange = same[0][1], same[0][3]
    assert green != orange
    assert same == [[same[0][0], green, green, orange], [same[0][0], orange, green, green]]
    np.testing.assert_array_equal(panels[1, 3].images[0].get_array(), images[1, 2])


def test_tsne_draws_the_same_rows_of_each_and_repeats(figure, monkeypatch):
    monkeypatch.setattr(plots, "MOST_POINTS", 40)
    labels = np.repeat(np.arange(3), 20)
    h = np.eye(3)[labels] * 20 + np.random.default_rng(0).normal(size=(60, 3))
    first = plots.tsne({"h": h, "z": h * 2}, labels, ["a", "b", "c"])
    points = [panel.collections[0] for panel in figure().axes]
    assert [len(p.get_offsets()) for p in points] == [40, 40]
    np.testing.assert_array_equal(points[0].get_array(), points[1].get_array())
    assert is_picture(first)
    assert plots.tsne({"h": h, "z": h * 2}, labels, ["a", "b", "c"]) == first


def test_l2_path_marks_the_chosen_value(figure):
    path = [PathPoint(10.0, 60.0, True), PathPoint(1.0, 80.0, True), PathPoint(0.1, 70.0, False)]
    assert is_picture(plots.l2_path(path, 1.0))
    panel = figure().axes[0]
    assert panel.get_xscale() == "log"
    np.testing.assert_array_equal(panel.lines[0].get_xydata(), [[0.1, 70], [1, 80], [10, 60]])
    np.testing.assert_array_equal(panel.lines[1].get_xydata(), [[1, 80]])


def test_label_efficiency_shows_means_and_deviations(figure):
    rows = [
        LabelEfficiency("pretrained", 1, np.array([70.0, 80.0])),
        LabelEfficiency("pretrained", None, np.array([98.0])),
        LabelEfficiency("raw pixels", 1, np.array([60.0, 62.0])),
    ]
    assert is_picture(plots.label_efficiency(rows))
    panel = figure().axes[0]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1 a class", "all labels"]
    means = [container.lines[0].get_ydata().tolist() for container in panel.containers]
    assert means == [[75, 98], [61]]
    bars = panel.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose(bars[0][:, 1], [75 - 50**0.5, 75 + 50**0.5])
