"""SimCLR as a port usually writes it: what the benchmarks measure the project against.

Correct, plain and unhurried: images are augmented one by one in float32 inside tf.data by `tf.image`, batch
norm is Keras's synchronised one, the loss takes the full matrix against one-hot labels, the optimizer is
Keras's SGD. Nothing here is used by the project itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_simclr.optimizers import LARS  # noqa: F401  (chooses Keras 2)

STRENGTH = 1.0
TEMPERATURE = 0.1


def views(dataset: tf.data.Dataset, image_size: int, batch_size: int, color: bool = True) -> tf.data.Dataset:
    """JPEGs (scalar strings) or decoded images (uint8 [h, w, 3]) to batches of two float32 views each."""

    def two_views(image: tf.Tensor) -> dict[str, tf.Tensor]:
        if image.dtype == tf.string:
            image = tf.io.decode_jpeg(image, channels=3)
        return {name: view(image, image_size, color) for name in ("view_a", "view_b")}

    examples = dataset.map(two_views, num_parallel_calls=tf.data.AUTOTUNE)
    return examples.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def view(image: tf.Tensor, image_size: int, color: bool = True) -> tf.Tensor:
    """Crop, resize, flip and colour distortion of one image, float32 [s, s, 3]."""
    image = tf.image.convert_image_dtype(image, tf.float32)
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        tf.shape(image),
        tf.zeros([1, 0, 4]),
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        use_image_if_no_bounding_boxes=True,
    )
    image = tf.image.resize(tf.slice(image, begin, size), [image_size, image_size], "bicubic")
    image.set_shape([image_size, image_size, 3])
    image = tf.clip_by_value(tf.image.random_flip_left_right(image), 0.0, 1.0)
    return distort(image) if color else image


def distort(image: tf.Tensor) -> tf.Tensor:
    """Colour distortion of one image in [0, 1], in the order of App. A."""
    if tf.random.uniform([]) < 0.8:
        image = tf.image.random_brightness(image, 0.8 * STRENGTH)
        image = tf.image.random_contrast(image, 1 - 0.8 * STRENGTH, 1 + 0.8 * STRENGTH)
        image = tf.image.random_saturation(image, 1 - 0.8 * STRENGTH, 1 + 0.8 * STRENGTH)
        image = tf.image.random_hue(image, 0.2 * STRENGTH)
        image = tf.clip_by_value(image, 0.0, 1.0)
    if tf.random.uniform([]) < 0.2:
        image = tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(image))
    return image


def resnet18(width_multiplier: float) -> tf.keras.Model:
    """ResNet-18 with the CIFAR stem by Keras's functional API, images [b, 32, 32, 3] to h."""
    width = int(64 * width_multiplier)
    inputs = tf.keras.Input([32, 32, 3])
    x = _norm_relu(_conv(inputs, width, 3, 1))
    for group in range(4):
        for block in range(2):
            strides = 2 if group and not block else 1
            shortcut = x
            if not block:
                shortcut = _norm(_conv(x, width * 2**group, 1, strides))
            x = _norm_relu(_conv(x, width * 2**group, 3, strides))
            x = _norm(_conv(x, width * 2**group, 3, 1))
            x = tf.keras.layers.ReLU()(x + shortcut)
    return tf.keras.Model(inputs, tf.keras.layers.GlobalAveragePooling2D()(x))


def _conv(x: tf.Tensor, filters: int, size: int, strides: int) -> tf.Tensor:
    return tf.keras.layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)


def _norm(x: tf.Tensor) -> tf.Tensor:
    return tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=True)(x)


def _norm_relu(x: tf.Tensor) -> tf.Tensor:
    return tf.keras.layers.ReLU()(_norm(x))


def projection_head(dim: int) -> tf.keras.Model:
    """Two dense layers with batch norm."""
    return tf.keras.Sequential(
        [
            tf.keras.Input([dim]),
            tf.keras.layers.Dense(dim, use_bias=False),
            tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=True),
            tf.keras.layers.ReLU(),
            tf.keras.layers.Dense(128, use_bias=False),
            tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, center=False, synchronized=True),
        ]
    )


def nt_xent(projections: tf.Tensor, temperature: float = TEMPERATURE) -> tf.Tensor:
    """The loss of z [2N, d] at scale 2L: full matrices, one-hot labels, a large negative mask."""
    view_a, view_b = tf.split(tf.math.l2_normalize(projections, axis=-1), 2)
    n = tf.shape(view_a)[0]
    labels = tf.one_hot(tf.range(n), n * 2)
    mask = tf.one_hot(tf.range(n), n) * 1e9
    aa = tf.matmul(view_a, view_a, transpose_b=True) / temperature - mask
    bb = tf.matmul(view_b, view_b, transpose_b=True) / temperature - mask
    ab = tf.matmul(view_a, view_b, transpose_b=True) / temperature
    ba = tf.matmul(view_b, view_a, transpose_b=True) / temperature
    loss_a = tf.nn.softmax_cross_entropy_with_logits(labels, tf.concat([ab, aa], 1))
    loss_b = tf.nn.softmax_cross_entropy_with_logits(labels, tf.concat([ba, bb], 1))
    return tf.reduce_mean(loss_a + loss_b)


class SimCLR(tf.keras.Model):
    """The train step around the parts above; batches as `views` gives them."""

    def __init__(self, width_multiplier: float) -> None:
        super().__init__()
        self.encoder = resnet18(width_multiplier)
        self.projection_head = projection_head(self.encoder.output_shape[-1])
        self.loss_mean = tf.keras.metrics.Mean("loss")

    def train_step(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        images = tf.concat([batch["view_a"], batch["view_b"]], axis=0)
        with tf.GradientTape() as tape:
            z = self.projection_head(self.encoder(images, training=True), training=True)
            loss = nt_xent(z)
        variables = [*self.encoder.trainable_variables, *self.projection_head.trainable_variables]
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        self.loss_mean.update_state(loss)
        return {"loss": self.loss_mean.result()}
