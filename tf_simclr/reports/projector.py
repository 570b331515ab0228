"""Representations for TensorBoard's projector: tensors, what is known of them, and their pictures."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from etils import epath
from PIL import Image
from tensorboard.plugins import projector

from tf_simclr.files import write_whole
from tf_simclr.reports.contact_sheet import tile

SIDE = 48  # pixels of a picture; the projector takes sheets of at most 8192


def write(
    folder: epath.Path,
    name: str,
    values: np.ndarray,
    columns: Mapping[str, Sequence[object]],
    pictures: Sequence[np.ndarray],
) -> None:
    """Writes tensors.tsv, metadata.tsv, sprite.png and projector_config.pbtxt.

    Args:
      folder: where TensorBoard looks for the run; made when needed.
      name: what the projector calls the representation.
      values: float32 [n, D].
      columns: name -> n values; tabs and line breaks become spaces.
      pictures: n images, uint8 [h, w, 3].
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = ("\t".join(f"{number:.6g}" for number in row) for row in values)
    write_whole(folder / "tensors.tsv", "\n".join(rows) + "\n")
    lines = [] if len(columns) == 1 else [list(columns)]  # a single column has no header
    lines += [list(map(_cell, row)) for row in zip(*columns.values(), strict=True)]
    write_whole(folder / "metadata.tsv", "".join("\t".join(line) + "\n" for line in lines))
    write_whole(folder / "sprite.png", _sprite(pictures))
    config = projector.ProjectorConfig()
    info = config.embeddings.add(
        tensor_name=name, tensor_path="tensors.tsv", metadata_path="metadata.tsv", tensor_shape=values.shape
    )
    info.sprite.image_path = "sprite.png"
    info.sprite.single_image_dim.extend([SIDE, SIDE])
    projector.visualize_embeddings(str(folder), config)
    if not list(folder.glob("events.out.tfevents.*")):  # without one a folder is no run to TensorBoard
        tf.summary.create_file_writer(str(folder)).close()


def _cell(value: object) -> str:
    return re.sub(r"\s", " ", str(value)) or "-"


def _sprite(pictures: Sequence[np.ndarray]) -> bytes:
    """All pictures in a square, row by row."""
    across = math.ceil(len(pictures) ** 0.5)
    sheet = Image.new("RGB", (across * SIDE, across * SIDE))
    for number, picture in enumerate(pictures):
        row, column = divmod(number, across)
        sheet.paste(tile(picture, SIDE), (column * SIDE, row * SIDE))
    file = io.BytesIO()
    sheet.save(file, format="PNG", optimize=True)
    return file.getvalue()
