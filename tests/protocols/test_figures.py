"""The paper's figures of a run: what they show is what the run has."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.image import imread

from tests.small_runs import Make, folder_of, weights_of
from tf_simclr import figures
from tf_simclr.augment import ColorDistortion
from tf_simclr.augment.named import OPERATIONS
from tf_simclr.config import Config
from tf_simclr.evaluation.spectrum import squared_spectrum
from tf_simclr.inputs import any_split
from tf_simclr.protocols import gallery
from tf_simclr.reports import paper_figures, plots

SIDE = 24  # blur has a kernel of more than a pixel
PICTURES = {
    "augmentations.png": "Fig. 4",
    "intensities.png": "Fig. 6",
    "eigenvalues.png": "Fig. B.3",
    "tsne.png": "Fig. B.4",
    "views.png": "views drawn",
}


@pytest.mark.slow
def test_a_run_draws_its_figures_and_keeps_their_numbers(evaluating: Make, pretrained: Config) -> None:
    config = evaluating("figures")
    figures.figures(config)
    report = (folder_of(config) / "report.html").read_text()
    for name, caption in PICTURES.items():
        assert imread(folder_of(config) / name)[..., :3].std() > 0
        assert caption in report
    kernels = {
        name.split("/")[-5]: value
        for name, value in weights_of(folder_of(pretrained)).items()
        if "projection_head/dense_layers" in name and name.endswith("kernel/.ATTRIBUTES/VARIABLE_VALUE")
    }
    assert len(kernels) == 2
    with np.load(folder_of(config) / "figures.npz") as numbers:
        assert numbers["intensities"].shape == (2, 2, gallery.CROPS, gallery.BINS)
        assert (numbers["intensities"].sum(axis=-1) == 8 * 8 * 3).all()
        assert (numbers["intensities"][:, 0] != numbers["intensities"][:, 1]).any()
        real = np.linalg.eigvals(kernels["0"].astype(np.float64)).real  # [64, 64]
        np.testing.assert_allclose(numbers["eigenvalues_of_layer1"], np.sort(real**2)[::-1], rtol=1e-6)
        squares = numbers["singular_values_of_layer2"]  # [64, 8]
        np.testing.assert_allclose(squares.sum(), np.sum(np.square(kernels["1"])), rtol=1e-4)


def test_a_kernels_spectrum() -> None:
    rng = np.random.default_rng(0)
    square, wide = rng.normal(size=[5, 5]), rng.normal(size=[6, 4])
    expected = sorted(np.real(np.linalg.eigvals(square)) ** 2, reverse=True)
    kind, found = squared_spectrum(square)
    assert kind == "eigenvalues"
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    for kernel in (wide, wide.T):
        kind, found = squared_spectrum(kernel)
        assert kind == "singular values"
        np.testing.assert_allclose(found, np.linalg.eigvalsh(wide.T @ wide)[::-1], rtol=1e-9)


def test_crops_are_counted_before_and_after_their_colours(tmp_path: Path) -> None:
    """A grey image stays one level in every crop, until its brightness moves."""
    (tmp_path / "test").mkdir()
    image = np.full([12, 12, 3], 102, np.uint8)
    (tmp_path / "test" / "grey.png").write_bytes(tf.io.encode_png(image).numpy())
    config = Config("figures").replace(dataset=f"folder:{tmp_path}", image_size=8)
    counts = gallery.intensities(config, any_split(config, "test"), ColorDistortion(0.5), seed=0)
    place = int(102 / 255 * gallery.BINS)
    assert (counts[0, :, place] == 8 * 8 * 3).all()
    assert counts[0].sum() == counts[1].sum() == gallery.CROPS * 8 * 8 * 3
    moved = counts[1].argmax(axis=1)
    assert len(set(moved)) > 1
    assert place not in moved


def test_operations_are_those_that_the_images_can_have() -> None:
    assert gallery.shown(Config("figures")) == list(OPERATIONS)
    assert "rotate" not in gallery.shown(Config("figures").replace(image_size="8x12"))
    config = Config("figures").replace(channels=1)
    image = tf.random.stateless_uniform([SIDE, SIDE, 1], [0, 1])
    for name in gallery.shown(config):
        assert gallery.augmented(image, name, 0, 1.0).shape == (SIDE, SIDE, 1)
    coloured = tf.random.stateless_uniform([SIDE, SIDE, 3], [0, 1])
    for name in OPERATIONS:
        assert np.abs(gallery.augmented(coloured, name, 0, 1.0) - coloured).max() > 0.02, name


def test_the_pictures_draw_the_numbers_that_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, to_png = [], plots._png
    monkeypatch.setattr(plots, "_png", lambda figure: drawn.append(figure) or to_png(figure))
    squares = np.array([4.0, 1.0, 0.0])
    assert imread(io.BytesIO(paper_figures.spectra({"layer1": squares}))).std() > 0
    plain, log = drawn[0].axes
    np.testing.assert_array_equal(plain.lines[0].get_xydata(), [[1, 4], [2, 1], [3, 0]])
    np.testing.assert_array_equal(log.lines[0].get_xydata(), [[1, 4], [2, 1]])
    assert (plain.get_yscale(), log.get_yscale()) == ("linear", "log")

    counts = np.arange(1 * 2 * 3 * 5).reshape([1, 2, 3, 5])
    paper_figures.intensities([np.zeros([4, 4, 3])], counts, np.linspace(0, 1, 6))
    _, *panels = drawn[1].axes
    shown = [panel.patches[0].get_data().values for panel in panels]
    np.testing.assert_array_equal(shown, counts.reshape(6, 5))
    assert len({panel.get_ylim() for panel in panels}) == 1  # all axes have the same range
