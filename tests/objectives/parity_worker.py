"""Two replicas train as one by every objective; with the negatives of a replica alone they do not.

Usage: parity_worker.py "OBJECTIVE|NEGATIVES" ...
"""

from __future__ import annotations

import functools
import sys
from unittest import mock

import tf_simclr  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import tensorflow as tf

from tf_simclr.checks import parity
from tf_simclr.methods.simclr import SimCLR
from tf_simclr.objectives import anchors


def gathered_alone(projections: tf.Tensor, l2_normalize: bool) -> anchors.Projections:
    """The mistake: every replica takes its own views for those of all."""
    z = tf.math.l2_normalize(projections, axis=1) if l2_normalize else projections
    a, b = tf.split(z, 2)
    return anchors.Projections(z, tf.concat([a, a, b, b], axis=0))


def main() -> None:
    two = tf.distribute.MirroredStrategy(parity.virtual_devices(2))
    for argument in sys.argv[1:]:
        objective, negatives = argument.split("|")
        method = SimCLR(objective=objective, negatives=negatives, temperature=0.3)
        make = functools.partial(parity.model, method=method)
        one = parity.train(tf.distribute.get_strategy(), make)
        differences = parity.largest_differences(one, parity.train(two, make))
        assert parity.holds(differences), (objective, parity.report(differences))
        print(objective, "parity holds", differences["gradients"][0])
        with mock.patch("tf_simclr.objectives.anchors.gathered", gathered_alone):
            differences = parity.largest_differences(one, parity.train(two, make))
        assert differences["gradients"][0] > 1e-3, (objective, parity.report(differences))
        print(objective, "the negatives of a replica alone differ", differences["gradients"][0])


if __name__ == "__main__":
    main()
