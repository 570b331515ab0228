"""Tests of an installation and of a planned run, and what an error of TensorFlow means."""
