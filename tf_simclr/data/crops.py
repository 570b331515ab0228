"""Batches for a device that has the images in its memory: which of them, and where their views lie."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.data.pipeline import Example, Sampling, own_threads, rows_of_worker
from tf_simclr.data.records import Source
from tf_simclr.data.resident import Resident
from tf_simclr.data.views import CROP_UNIFORMS, VIEW_UNIFORMS, Boxes, view_boxes


def crop_batches(
    source: Source,
    sampling: Sampling,
    images: Resident,
    *,
    num_uniforms: int,
    num_views: int = 2,
    start_step: int = 0,
    worker: int = 0,
    num_workers: int = 1,
) -> tf.data.Dataset:
    """As `pretraining_batches` of `source`, whose images are `images`, with crops in the place of views.

    The boxes are the host's, so that no device's arithmetic moves one by a pixel.

    Returns:
      {"index": int64 [B], "boxes": int32 [B, V, 4] (top, left, height, width), "flipped": bool [B, V],
      "uniforms": float32 [B, V, num_uniforms], "label": int64 [B]}.
    """
    with tf.device("CPU:0"):
        sizes, labels = tf.constant(images.sizes), tf.constant(images.labels)
        shown = tf.constant(images.shown)

    def boxes(drawn: tf.Tensor) -> Boxes:
        return view_boxes(drawn, sampling.crop_area_min, sampling.image_size, sampling.crop_side)

    def batch(position: tf.Tensor, uniforms: tf.Tensor) -> Example:
        index = tf.gather(shown, position)
        drawn = uniforms[..., :VIEW_UNIFORMS]
        if sampling.shared_crop:
            drawn = tf.repeat(drawn[:, :1], num_views, axis=1)
        height, width = tf.unstack(tf.gather(sizes, index)[:, tf.newaxis], axis=-1)  # [B, 1]
        return {
            "index": index,
            "boxes": boxes(drawn)(height, width),
            "flipped": (drawn[..., CROP_UNIFORMS] < 0.5) & sampling.flip,
            "uniforms": uniforms[..., VIEW_UNIFORMS:],
            "label": tf.gather(labels, index),
        }

    drawn = (num_views, VIEW_UNIFORMS + num_uniforms)
    rows = rows_of_worker(
        source.shuffled_indices, source.num_examples, drawn, sampling, start_step, worker, num_workers
    )
    batches = rows.batch(sampling.batch_size // num_workers, drop_remainder=True)
    made = batches.map(batch, num_parallel_calls=tf.data.AUTOTUNE)
    return made.prefetch(tf.data.AUTOTUNE).with_options(own_threads())
