"""A multilayer perceptron on features: what a representation says that a linear classifier cannot read."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from tf_simclr.evaluation.logistic_regression import LabelledFeatures

BATCH = 256
RATE = 1e-3


@dataclasses.dataclass(frozen=True)
class MLP:
    """One hidden layer of ReLUs, trained by Adam at a rate of 1e-3 that falls to 0 along a cosine.

    Attributes:
      hidden_dim: width of the hidden layer; 0: that of the features.
      steps: of 256 features each.
      seed: of weights and order.
    """

    hidden_dim: int = 0
    steps: int = 3000
    seed: int = 0

    def accuracy(self, train: LabelledFeatures, test: LabelledFeatures, num_classes: int) -> float:
        """Top-1 in percent on features [n, D], each dimension centred and scaled by those to train on."""
        mean, deviation = train.values.mean(axis=0), train.values.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1.0)  # a ReLU that never fires
        values, asked = ((part.values - mean) / scale for part in (train, test))
        model = self._model(values.shape[1], num_classes)
        rows = tf.data.Dataset.from_tensor_slices((values, train.labels))
        batches = rows.shuffle(len(values), seed=self.seed).repeat().batch(BATCH)
        model.fit(batches, steps_per_epoch=self.steps, verbose=0)
        found = model.predict(asked, batch_size=BATCH, verbose=0).argmax(axis=1)
        return float(100 * np.mean(found == test.labels))

    def _model(self, width: int, num_classes: int) -> tf.keras.Model:
        initial = [tf.keras.initializers.GlorotUniform(seed=2 * self.seed + layer) for layer in range(2)]
        dense = tf.keras.layers.Dense
        model = tf.keras.Sequential(
            [
                tf.keras.Input([width], dtype="float32"),
                dense(self.hidden_dim or width, "relu", kernel_initializer=initial[0], dtype="float32"),
                dense(num_classes, kernel_initializer=initial[1], dtype="float32"),
            ]
        )
        rate = tf.keras.optimizers.schedules.CosineDecay(RATE, self.steps)
        model.compile(
            tf.keras.optimizers.Adam(rate), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        return model
