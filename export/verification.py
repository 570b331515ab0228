"""verification.npz: inputs and what the live model answered, for `--verify` to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tf_simclr.image_size import ImageSize, height_and_width

from .signatures import Preprocess

BATCHES = (1, 7)


def image_cases(height: int, width: int, channels: int) -> list[np.ndarray]:
    """Images [b, h, w, channels] float32 in [0, 1]: batch 1 and 7, the run's size and one less high."""
    sizes = ((height, width), (max(height * 3 // 4, 1), width))
    generator = np.random.default_rng(0)
    return [
        generator.integers(0, 256, (batch, *size, channels)).astype(np.float32) / 255
        for batch in BATCHES
        for size in sizes
    ]


def vector_cases(width: int) -> list[np.ndarray]:
    """Representations [b, width] float32, not negative, as pooled ReLUs are."""
    generator = np.random.default_rng(0)
    return [np.abs(generator.standard_normal((batch, width))).astype(np.float32) for batch in BATCHES]


def text_cases(vocabulary: Sequence[str]) -> list[np.ndarray]:
    """Texts [b] as UTF-8: known words in upper case too, an unknown one, none at all, and a long text."""
    words = [word.encode() for word in (*vocabulary[:20], "Unknown!")]
    texts = [b" ".join(words[-3:]), b"", words[0].upper(), b" ".join(words * 5), *words[:3]]
    return [np.array(texts[:batch]) for batch in BATCHES]


def arrays(
    root: tf.train.Checkpoint, cases: Sequence[np.ndarray], layers: Sequence[tf.keras.layers.Layer]
) -> dict[str, np.ndarray]:
    """Keys `inputs_{i}`, `inference_{i}`, `training_{i}`, `moves`; `layers` stay as they were.

    `moves` says of each variable whether training=True moves it. Layers that draw at random have no
    `training_{i}`.

    Args:
        root: what `signatures.reusable` made of the live layers, before any saving. It runs in graph mode, as
            the export does: eager arithmetic differs in the last bits.
        cases: inputs.
        layers: those that compute `root`.
    """
    before = [layer.get_weights() for layer in layers]
    found = {f"inputs_{index}": inputs for index, inputs in enumerate(cases)}
    moves = np.zeros([sum(len(layer.variables) for layer in layers)], bool)

    def answer(live: Callable[[tf.Tensor], tf.Tensor], inputs: np.ndarray) -> np.ndarray:
        kept = [variable.numpy() for layer in layers for variable in layer.variables]
        value = live(tf.constant(inputs)).numpy()
        now = [variable.numpy() for layer in layers for variable in layer.variables]
        moves[:] |= np.array([not np.array_equal(a, b) for a, b in zip(kept, now, strict=True)], bool)
        for layer, weights in zip(layers, before, strict=True):
            layer.set_weights(weights)
        return value

    with tf.device("/CPU:0"):
        for index, inputs in enumerate(cases):
            found[f"inference_{index}"] = answer(root.serve, inputs)
        if np.array_equal(answer(root.serve_training, cases[0]), answer(root.serve_training, cases[0])):
            for index, inputs in enumerate(cases):
                found[f"training_{index}"] = answer(root.serve_training, inputs)
    return {**found, "moves": moves}


def encoded_images(preprocess: Preprocess, image_size: ImageSize) -> dict[str, np.ndarray]:
    """Keys `jpeg`, `png`: files as uint8; `jpeg_image`, `png_image`: [H, W, C] as evaluation sees it."""
    height, width = height_and_width(image_size)
    height, width = height * 5 // 4 + 1, width * 3 // 2 + 1
    vertical, horizontal = np.mgrid[0:height, 0:width]
    waves = [np.sin(vertical / 3), np.cos(horizontal / 4), np.sin((vertical + horizontal) / 5)]
    picture = tf.constant((np.stack(waves, -1) * 127 + 128).astype(np.uint8))
    found = {}
    for name, encode in (("jpeg", tf.io.encode_jpeg), ("png", tf.io.encode_png)):
        encoded = encode(picture)
        found[name] = np.frombuffer(encoded.numpy(), np.uint8)
        found[f"{name}_image"] = tf.function(preprocess)(encoded).numpy()
    return found
