"""Ratios of things measured in turns in one run. `make bench` runs them all; see docs/performance.md."""

import tf_simclr  # noqa: F401  before TensorFlow, which then takes Keras 2
