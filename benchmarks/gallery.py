"""Every named augmentation on one photograph, as Fig. 4: docs/augmentations.png.

python -m benchmarks.gallery --image=PHOTOGRAPH.jpg --output=docs/augmentations.png
"""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
from absl import app, flags
from matplotlib import pyplot as plt
from PIL import Image

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import tensorflow as tf

from tf_simclr.augment.named import OPERATIONS
from tf_simclr.data.decoding import decode_image
from tf_simclr.data.views import evaluation_view
from tf_simclr.protocols import gallery

IMAGE = flags.DEFINE_string("image", None, "photograph, JPEG or PNG", required=True)
OUTPUT = flags.DEFINE_string("output", "docs/augmentations.png", "PNG to write")
SIDE, COLUMNS, SEED = 144, 7, 3
STRENGTH = 0.5  # of the colours, as in docs/views.png


def draw(tiles: dict[str, np.ndarray], path: str) -> None:
    """Tiles with their titles, in 256 colours."""
    mpl.use("Agg")
    rows = -(-len(tiles) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(1.5 * COLUMNS, 1.72 * rows), layout="constrained")
    for cell in axes.flat:
        cell.set_axis_off()
    for cell, (title, tile) in zip(axes.flat, tiles.items(), strict=False):
        cell.imshow(tile)
        cell.set_title(title, fontsize=9, pad=3)
    file = io.BytesIO()
    figure.savefig(file, dpi=100)
    plt.close(figure)
    Image.open(file).convert("RGB").quantize(256).save(path, optimize=True)


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}")
    if not Path(IMAGE.value).is_file():
        raise app.UsageError(f"--image={IMAGE.value}: no such file")
    image = evaluation_view(decode_image(tf.io.read_file(IMAGE.value)), SIDE)
    draw(
        {
            "original": image.numpy(),
            **{name: gallery.augmented(image, name, SEED, STRENGTH) for name in OPERATIONS},
        },
        OUTPUT.value,
    )
    print(OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
