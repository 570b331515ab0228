"""SimCLR as a Keras model, for use from Python."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr.augment import Augmentations
from tf_simclr.methods import simclr
from tf_simclr.models.pretraining import Pretraining


class SimCLR(Pretraining):
    """`Pretraining` by SimCLR: two views an image, compared by NT-Xent (Sec. 2, Alg. 1).

    Args:
        encoder, projection_head, augmentations: as `Pretraining`'s.
        temperature: NT-Xent's (Eq. 1).
        l2_normalize: compare by cosine; otherwise by inner product.
        block_size: rows of NT-Xent's similarity matrix held at a time; None: the whole matrix.
        **options: `Pretraining`'s.
    """

    def __init__(
        self,
        encoder: tf.keras.Model,
        projection_head: tf.keras.layers.Layer,
        augmentations: Augmentations | None = None,
        *,
        temperature: float = 0.1,
        l2_normalize: bool = True,
        block_size: int | None = None,
        **options: Any,
    ) -> None:
        method = simclr.SimCLR(
            temperature=temperature, hidden_norm=l2_normalize, loss_block_size=block_size or 0
        )
        super().__init__(method, encoder, projection_head, augmentations, **options)
