"""Two 224 px views of photographs: ours beside the textbook's tf.data pipeline and beside decoding alone.

    python -m benchmarks.input_pipeline --images=FOLDER

The textbook augments colours on the host, in float32; ours leaves them to the device, and is therefore also
measured with them left out of the textbook's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from absl import app, flags

from benchmarks import textbook
from benchmarks.contest import Claim, Contest, publish, take_turns
from tf_simclr import data

IMAGES = flags.DEFINE_string(
    "images", "../shared/data/imagenet_sample/train", "folder of JPEG photographs, a folder a class"
)
COUNT = flags.DEFINE_integer("count", 1500, "images a turn", lower_bound=64)
SIZE, BATCH = 224, 64


def batches_of(folder: str) -> dict[str, tf.data.Dataset]:
    """The contestants, each without end: batches of 64 images, but for decoding alone."""
    source = data.open_source(f"folder:{folder}", "train")
    encoded = source.records().map(lambda record: record["image"]).cache().repeat()
    decoded = encoded.map(
        lambda image: tf.io.decode_jpeg(image, channels=3), num_parallel_calls=tf.data.AUTOTUNE
    )

    def ours(source: data.Source) -> tf.data.Dataset:
        return data.pretraining_batches(source, image_size=SIZE, batch_size=BATCH, seed=0, num_uniforms=8)

    return {
        "decoding alone": decoded.map(lambda image: image[0, 0, 0]).batch(BATCH),
        "textbook": textbook.views(encoded, SIZE, BATCH),
        "textbook without colour": textbook.views(encoded, SIZE, BATCH, color=False),
        "ours": ours(source),
        "ours, --cache_dataset": ours(data.cached(source, SIZE)),
    }


def turn(batches: tf.data.Dataset) -> Callable[[], None]:
    """Pulls --count images out of a new iterator: an old one would fill its buffer in others' turns."""
    finite = batches.take(COUNT.value // BATCH)

    def pull() -> None:
        for _ in finite:
            pass

    return pull


def main(arguments: list[str]) -> None:
    if len(arguments) > 1 or not Path(IMAGES.value).is_dir():
        raise app.UsageError(f"--images={IMAGES.value}: give a folder of JPEG photographs")
    turns = {name: turn(batches) for name, batches in batches_of(IMAGES.value).items()}
    contest = Contest(
        f"two {SIZE} px views of photographs",
        take_turns(turns),
        amount=COUNT.value // BATCH * BATCH,
        unit="images",
        claims=[
            Claim("ours", "textbook", 1.8),
            Claim("ours", "decoding alone", 0.45),
            Claim("ours, --cache_dataset", "textbook", 3.0),
        ],
    )
    publish("input_pipeline", contest)


if __name__ == "__main__":
    app.run(main)
