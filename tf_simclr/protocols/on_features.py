"""Linear evaluation without augmentation: the features are computed once, the classifier trained on them."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from etils import epath

from tf_simclr.config import Config
from tf_simclr.data import Source
from tf_simclr.evaluation.features import Features, cached_features, encoder_sha256
from tf_simclr.inputs import labelled
from tf_simclr.models import Classifier
from tf_simclr.runs.folder import RunFolder

_INT64_MAX = 2**63 - 1


class FeatureClassifier(Classifier):
    """A `Classifier` whose batches may hold features [b, D], computed before, in place of images."""

    def features(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return images if images.shape.rank == 2 else super().features(images, training=training)


def feature_batches(run: RunFolder, model: Classifier, source: Source) -> Callable[[int], tf.data.Dataset]:
    """As `inputs.training_batches`, with the features of each image in its place."""
    features = of_source(run, model, source)
    return batches(features, run.config.optimization.train_batch_size, run.config.run.seed)


def of_source(run: RunFolder, model: Classifier, source: Source) -> Features:
    """What the classifier sees of every image, from the cache where it is there."""
    head = encoder_sha256(model.projection_head) if model.head_layer else ""
    key = cache_key(run.config, source, f"{encoder_sha256(model.encoder)} {head}", model.head_layer)
    return cached_features(
        cache_folder(run), key, lambda: labelled.features(run.config.data, model.features, source)
    )


def cache_folder(run: RunFolder) -> epath.Path:
    """MODEL_DIR/features; the seeds of a run, MODEL_DIR/seed_S, share that of the whole."""
    is_seed = run.path.name == f"seed_{run.config.run.seed}" and (run.path.parent / "config.json").exists()
    return (run.path.parent if is_seed else run.path) / "features"


def cache_key(config: Config, source: Source, sha256: str, layer: int = 0) -> str:
    """Everything that features depend on."""
    data = config.data
    view = f"{data.image_size} {data.center_crop_fraction} {data.resize_first} {config.devices.precision}"
    upright = " upright" if source.decoding.upright else ""
    return f"{sha256} layer {layer} {source.name} {source.split} {source.version} {view}{upright}"


def batches(features: Features, batch_size: int, seed: int) -> Callable[[int], tf.data.Dataset]:
    """{"image": features [b, D], "label": [b]} from a step on, without end, each epoch shuffled."""
    count = len(features.labels)
    with tf.device("CPU:0"):  # 10 GB of ImageNet's features belong to the host
        values, labels = tf.constant(features.values), tf.constant(features.labels)

    def order(epoch: tf.Tensor) -> tf.data.Dataset:
        key = tf.stack([tf.constant(seed, tf.int64), -1 - epoch])
        indices = tf.range(count, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.random.experimental.stateless_shuffle(indices, key))

    def from_step(step: int, worker: int = 0, num_workers: int = 1) -> tf.data.Dataset:
        epoch, offset = divmod(step * batch_size, count)
        indices = tf.data.Dataset.range(epoch, _INT64_MAX).flat_map(order).skip(offset)
        share = batch_size // num_workers
        own = slice(worker * share, (worker + 1) * share)
        chosen = indices.batch(batch_size, drop_remainder=True).map(lambda rows: rows[own])
        return chosen.map(lambda rows: {"image": tf.gather(values, rows), "label": tf.gather(labels, rows)})

    return from_step
