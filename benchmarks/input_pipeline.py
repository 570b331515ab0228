"""Two 224 px views of photographs: ours beside the textbook's tf.data pipeline and beside decoding alone.

    python -m benchmarks.input_pipeline --images=FOLDER

The textbook augments colours on the host, in float32; ours leaves them to the device, and is therefore also
measured beside a textbook without them, and with --cache_dataset beside one that finds its images decoded.
Without --images it draws pictures of ImageNet's usual size.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import tensorflow as tf
from absl import app, flags

from benchmarks import textbook
from benchmarks.contest import Claim, Contest, batches_turn, publish, take_turns
from tf_simclr import data
from tf_simclr.data.records import MemorySource

IMAGES = flags.DEFINE_string("images", "", "folder of JPEG photographs; empty: drawn ones")
COUNT = flags.DEFINE_integer("count", 1500, "images a turn", lower_bound=64)
SIZE, BATCH = 224, 64


def batches_of(folder: str) -> dict[str, tf.data.Dataset]:
    """The contestants, each without end: batches of 64 images, but for decoding alone."""
    source = in_memory(data.open_source(f"folder:{folder}", "train"))
    count = source.num_examples
    encoded = source.records().map(lambda record: record["image"]).cache().repeat()
    decoded = encoded.map(
        lambda image: tf.io.decode_jpeg(image, channels=3), num_parallel_calls=tf.data.AUTOTUNE
    )

    def ours(source: data.Source) -> tf.data.Dataset:
        return data.pretraining_batches(source, data.Sampling(SIZE, BATCH, seed=0), num_uniforms=8)

    return {
        "decoding alone": decoded.map(lambda image: image[0, 0, 0]).batch(BATCH),
        "textbook": textbook.views(encoded, SIZE, BATCH),
        "textbook without colour": textbook.views(encoded, SIZE, BATCH, color=False),
        "textbook, images decoded before": textbook.views(decoded.take(count).cache().repeat(), SIZE, BATCH),
        "ours": ours(source),
        "ours, --cache_dataset": ours(data.cached(source, SIZE)),
    }


def in_memory(source: data.Source) -> data.Source:
    """The same files, read once: all contestants start from bytes in memory."""
    rows = list(source.records().as_numpy_iterator())
    columns = {name: [row[name] for row in rows] for name in ("image", "label", "id")}
    return MemorySource(
        source.name,
        source.split,
        source.version,
        source.class_names,
        images=columns["image"],
        labels=columns["label"],
        ids=columns["id"],
    )


def draw_pictures(folder: str, count: int = 100) -> None:
    """Smooth noise of 500 x 375 pixels, as JPEG of about 90 kB."""
    for number in range(count):
        coarse = tf.random.stateless_uniform([75, 100, 3], [number, 0], 0, 255)
        picture = tf.saturate_cast(tf.image.resize(coarse, [375, 500], "bicubic"), tf.uint8)
        tf.io.write_file(f"{folder}/{number}.jpg", tf.io.encode_jpeg(picture, quality=95))


def main(arguments: list[str]) -> None:
    if len(arguments) > 1 or (IMAGES.value and not Path(IMAGES.value).is_dir()):
        raise app.UsageError(f"--images={IMAGES.value}: give a folder of JPEG photographs")
    with TemporaryDirectory() as folder:
        if not IMAGES.value:
            draw_pictures(folder)
        count = COUNT.value // BATCH
        turns = {name: batches_turn(each, count) for name, each in batches_of(IMAGES.value or folder).items()}
        contest = Contest(
            f"two {SIZE} px views of {'photographs' if IMAGES.value else 'drawn pictures'}",
            take_turns(turns),
            amount=count * BATCH,
            unit="images",
            claims=[
                Claim("ours", "textbook", 1.8),
                Claim("ours", "textbook without colour"),
                Claim("ours", "decoding alone", 0.45),
                Claim("ours, --cache_dataset", "textbook", 3.0),
                Claim("ours, --cache_dataset", "textbook, images decoded before"),
            ],
        )
    publish("input_pipeline", contest)


if __name__ == "__main__":
    app.run(main)
