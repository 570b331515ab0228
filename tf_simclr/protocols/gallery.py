"""Every named operation on images (Fig. 4), and intensities of crops with and without colours (Fig. 6)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclr import inputs
from tf_simclr.augment import ColorDistortion
from tf_simclr.augment.named import CROP, OPERATIONS
from tf_simclr.augment.pixels import as_float
from tf_simclr.config import Config
from tf_simclr.data import Source
from tf_simclr.image_size import height_and_width

CROPS, BINS = 4, 48
EDGES = np.linspace(0.0, 1.0, BINS + 1)
_OF_RGB = {"color", "color_jitter", "color_drop", "equalize", "motion_blur", "auto_augment"}


def augmented(image: tf.Tensor, name: str, seed: int, strength: float) -> np.ndarray:
    """An image [H, W, C] in [0, 1] by an operation that is drawn for certain; colours of that strength."""
    operation = OPERATIONS[name](**({"strength": strength} if name in ("color", "color_jitter") else {}))
    uniforms = tf.random.stateless_uniform([1, operation.num_uniforms], [seed, list(OPERATIONS).index(name)])
    if name not in (CROP, "auto_augment"):
        uniforms = _for_certain(uniforms)
    return operation(image[tf.newaxis], operation.factors_from_uniforms(uniforms))[0].numpy()


def _for_certain(uniforms: tf.Tensor) -> tf.Tensor:
    """Numbers [b, K] of which the first, which says whether, says yes."""
    return tf.concat([tf.zeros_like(uniforms[:, :1]), uniforms[:, 1:]], axis=1)


def shown(config: Config) -> list[str]:
    """The operations that images of this size and these channels can have."""
    height, width = height_and_width(config.data.image_size)
    left_out = (_OF_RGB if config.data.channels != 3 else set()) | ({"rotate"} if height != width else set())
    return [name for name in OPERATIONS if name not in left_out]


def intensities(config: Config, image: Source, colours: ColorDistortion, seed: int) -> np.ndarray:
    """Histograms int64 [2, CROPS, BINS] of crops of the one image in `image`, without and with colours.

    The colour jitter is drawn for certain, grey by chance.
    """
    alone = {"cache_dataset": False, "cache_dir": "", "data_service": ""}
    one = config.replace(train_batch_size=CROPS, seed=seed, augment="crop", one_branch=False, **alone)
    batch = next(iter(inputs.training_batches(one, image, colours.num_uniforms)(0)))
    factors = colours.factors_from_uniforms(_for_certain(batch["uniforms"]))
    kinds = as_float(batch["image"]), colours(batch["image"], factors)
    return np.stack([[histogram(crop) for crop in kind.numpy()] for kind in kinds])


def histogram(pixels: np.ndarray) -> np.ndarray:
    """How many values, of all channels, each of BINS bins of [0, 1] holds: int64 [BINS]."""
    return np.histogram(pixels, EDGES)[0]
