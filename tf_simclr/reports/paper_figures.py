"""The paper's figures of a run, each drawn from plain arrays to the bytes of a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tf_simclr.reports import plots


def spectra(values: Mapping[str, np.ndarray]) -> bytes:
    """Squares, of eigenvalues and the like, over their rank, as they are and on a log scale (Fig. B.3)."""
    figure, axes = plots._panels(2, width=4.0, height=2.8, across=2)
    for panel, scale in zip(axes, ("linear", "log"), strict=True):
        for (name, squares), colour in zip(values.items(), plots.COLOURS, strict=False):
            shown = squares[squares > 0] if scale == "log" else squares
            panel.plot(np.arange(1, len(shown) + 1), shown, color=colour, label=name)
        panel.set_yscale(scale)
        panel.set_xlabel("rank", fontsize=8)
        panel.set_ylabel("square" + (", log scale" if scale == "log" else ""), fontsize=8)
    axes[0].legend(frameon=False, fontsize=8)
    return plots._png(figure)


def intensities(images: Sequence[np.ndarray], counts: np.ndarray, edges: np.ndarray) -> bytes:
    """Histograms of pixel intensities of crops of an image, a row an image (Fig. 6).

    All have one range; what rises beyond twice the highest count without colours is cut.

    Args:
        images: n of [H, W, C] in [0, 1], shown in front of their crops.
        counts: [n, 2, k, bins], of k crops without and with colour distortion.
        edges: [bins + 1] of the bins.
    """
    rows, kinds, crops, _ = counts.shape
    highest = 2 * counts[:, 0].max()
    across = 1 + kinds * crops
    figure, axes = plots._panels(rows * across, width=1.15, height=1.25, across=across)
    for row, image in enumerate(images):
        first, *others = axes[row * across : (row + 1) * across]
        first.imshow(image, cmap="gray", vmin=0, vmax=1)
        first.set_axis_off()
        for number, panel in enumerate(others):
            kind, crop = divmod(number, crops)
            panel.stairs(counts[row, kind, crop], edges, fill=True, color=plots.COLOURS[kind])
            panel.set(xlim=(edges[0], edges[-1]), ylim=(0, highest), xticks=[0, 1], yticks=[])
            panel.grid(visible=False)
            if not row and not crop:
                title = ("without colour distortion", "with colour distortion")[kind]
                panel.set_title(title, fontsize=9, loc="left")
    return plots._png(figure)
