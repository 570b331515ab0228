"""Two 32 px views an image, made by the host or by the device that holds the images (`--feed`).

    python -m benchmarks.feed

Both start from decoded images in memory and draw the same crops. The limit is TensorFlow's own batched crop
and resizing of images that are floats already, bilinear, which no training could use as it is. The step is
that of `benchmarks.train_step` at width 0.25, whose encoder shares the cores with what makes the views.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from absl import app

from benchmarks import train_step
from benchmarks.contest import Claim, Contest, Turn, batches_turn, publish, take_turns
from tf_simclr import data
from tf_simclr.data.crops import crop_batches
from tf_simclr.data.device_views import DeviceViews
from tf_simclr.data.resident import Resident, decode_all

SIDE, COUNT, WIDTH, STEPS = train_step.SIDE, 5000, 0.25, 8
BATCH, BATCHES = 512, 40  # a turn
SMALL_BATCH = 64  # of a step


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}")
    source = train_step.source_of(train_step.images(COUNT))
    images = decode_all(source)
    assert images is not None
    publish("feed", contest_of_views(source, images), contest_of_steps(source, images))


def contest_of_views(source: data.Source, images: Resident) -> Contest:
    sampling = data.Sampling(SIDE, BATCH, seed=0)
    by_host = data.pretraining_batches(data.cached(source, SIDE), sampling, num_uniforms=8)
    crops = crop_batches(source, sampling, images, num_uniforms=8)
    views = DeviceViews(images, SIDE)
    one = tf.function(lambda batch: views(batch)["views"][0, 0, 0, 0])  # no more comes to the host
    turns: dict[str, Turn | Callable[[], Any]] = {
        "host, --cache_dataset": batches_turn(by_host, BATCHES),
        "device": batches_turn(crops, BATCHES, lambda iterator: one(next(iterator)).numpy()),
        "limit: crop_and_resize alone": limit(images),
    }
    return Contest(
        f"two {SIDE} px views of {COUNT:,} images in memory",
        take_turns(turns),
        amount=BATCHES * BATCH,
        unit="images",
        claims=[
            Claim("device", "host, --cache_dataset", 4.0),
            Claim("device", "limit: crop_and_resize alone"),
        ],
    )


def limit(images: Resident) -> Callable[[], Any]:
    """As many crops of a batch of floats."""
    pixels = tf.constant(images.pixels[:BATCH].transpose(0, 1, 3, 2), tf.float32)
    boxes = tf.tile([[0.1, 0.2, 0.8, 0.7]], [2 * BATCH, 1])
    owners = tf.repeat(tf.range(BATCH), 2)
    crop = tf.function(lambda: tf.image.crop_and_resize(pixels, boxes, owners, [SIDE, SIDE])[0, 0])

    def turn() -> None:
        for _ in range(BATCHES):
            crop().numpy()

    return turn


def contest_of_steps(source: data.Source, images: Resident) -> Contest:
    model, batch = train_step.our_model(WIDTH), SMALL_BATCH
    model.views_of = DeviceViews(images, SIDE)
    sampling, drawn = data.Sampling(SIDE, batch, seed=0), model.augmentations.num_uniforms
    crops = crop_batches(source, sampling, images, num_uniforms=drawn)
    turns = {"host": train_step.our_steps(WIDTH, STEPS, batch), "device": train_step.fit(model, crops, STEPS)}
    subject = f"train step, ResNet-18 at width {WIDTH}, {batch} images of {SIDE} px"
    claims = [Claim("device", "host", 1.0)]
    return Contest(subject, take_turns(turns), amount=STEPS, unit="steps", claims=claims)


if __name__ == "__main__":
    app.run(main)
