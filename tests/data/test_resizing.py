"""Products with matrices of weights against tf.image.resize."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_simclr.data.resizing import resizing


@settings(max_examples=60, deadline=None)
@given(
    begin=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    mirrored=st.booleans(),
)
def test_a_crop_is_resized_as_tensorflow_resizes_it_alone(
    begin: tuple[int, int], sides: tuple[int, int], size: tuple[int, int], mirrored: bool
) -> None:
    """Before rounding, beyond the borders of the crop nothing, whatever lies there."""
    image = np.random.default_rng(0).uniform(0, 255, [70, 70]).astype(np.float32)
    (top, left), (height, width) = begin, sides
    crop = image[top : top + height, left : left + width]
    expected = tf.image.resize(crop[..., None], size, "bicubic")[..., 0]
    rows = resizing(tf.constant(top), tf.constant(height), 70, size[0])
    columns = resizing(tf.constant(left), tf.constant(width), 70, size[1], mirrored=mirrored)
    found = rows @ image @ tf.transpose(columns)
    np.testing.assert_allclose(found, expected[:, ::-1] if mirrored else expected, atol=1e-3)
