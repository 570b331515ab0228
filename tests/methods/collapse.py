"""How spread out z is after a short training: what a method without its predictor loses."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclr.checks import parity
from tf_simclr.methods import Method
from tf_simclr.models import Pretraining, ProjectionHead

STEPS, WIDTH = 60, 8


def std_after_training(method: Method) -> float:
    """`projection_std` of a small network, without batch norm on z, which would keep it spread out."""
    tf.keras.utils.set_random_seed(0)
    head = ProjectionHead(out_dim=WIDTH, hidden_dim=32, batch_norm="hidden")
    model = Pretraining(method, parity.small_encoder(), head, total_steps=STEPS)
    model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9))
    rng = np.random.default_rng(0)
    views = rng.uniform(size=[64, 1, 8, 8, 3]) + 0.1 * rng.normal(size=[64, 2, 8, 8, 3])
    batch = {"views": np.clip(views, 0, 1).astype(np.float32)}
    model.fit(tf.data.Dataset.from_tensors(batch).repeat(STEPS), epochs=1, verbose=0)
    return float(
        model.evaluate(tf.data.Dataset.from_tensors(batch), verbose=0, return_dict=True)["projection_std"]
    )
