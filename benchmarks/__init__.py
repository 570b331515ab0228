"""Ratios of things measured in turns in one run. `make bench` runs them all; see docs/performance.md."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anybody imports TensorFlow

import tf_simclr  # noqa: F401  before TensorFlow, which then takes Keras 2
