"""What the images of a planned run are: sizes, what is left out, classes, and images of the test split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tf_simclr import data, inputs
from tf_simclr.checks import images, limits
from tf_simclr.checks.findings import NOTE, WARNING, WASTED, Finding
from tf_simclr.checks.planned import Planned
from tf_simclr.data import Source
from tf_simclr.data.records import IndexedSource
from tf_simclr.data.views import evaluation_view, shrink_to_cover
from tf_simclr.image_size import ImageSize, height_and_width

LOOKED_AT = 64  # images whose sizes are looked at
COMPARED = 2048  # images of each split that are compared
THUMBNAIL = 16  # px


def sizes(run: Planned) -> Iterator[Finding]:
    """Of a few images, beside --image_size."""
    found = sides(run.source)
    factors = np.max(np.array(height_and_width(run.config.data.image_size)) / found, axis=1)
    middle, factor = np.median(found, axis=0).astype(int), float(np.median(factors))
    looked = f"{len(found)} of {run.source.num_examples:,} images looked at: {middle[0]} x {middle[1]} px"
    figures = {"height": int(middle[0]), "width": int(middle[1]), "enlarged": factor}
    if factor > limits.ENLARGED.value:
        line = (
            f"--image_size={run.config.data.image_size}: {looked} in the middle, enlarged {factor:.2g} times"
        )
        yield Finding(WARNING, f"{line}; a smaller size costs less and shows as much", figures)
    else:
        yield Finding(NOTE, f"{looked} in the middle", figures)


def sides(source: Source, kept_size: ImageSize | None = None) -> np.ndarray:
    """Heights and widths of a few good images, int [n, 2]; shrunk to cover `kept_size`, where it is given."""
    few = inputs.few(source, LOOKED_AT)

    def of_record(record: dict[str, tf.Tensor]) -> tf.Tensor:
        image = few.decode(record["image"])
        return tf.shape(shrink_to_cover(image, kept_size) if kept_size else image)[:2]

    return np.stack(list(few.records().map(of_record).ignore_errors().as_numpy_iterator()))


def bad_images(run: Planned) -> Iterator[Finding]:
    """What the scan of a folder found, and what decoding a sample finds."""
    source, few = run.source, inputs.few(run.source, COMPARED)
    scanned = dict(source.bad_images.rows)
    images.look(few)
    drawn = {name: row for name, row in few.bad_images.rows.items() if name not in scanned}
    share, allowed = len(drawn) / few.num_examples, source.bad_images.policy.allowed(source.num_examples)
    expected = len(scanned) + share * source.num_examples
    looked = f"--dataset={source.name}: {len(scanned):,} bad images by their heads, {len(drawn):,} of "
    looked += f"{few.num_examples:,} by decoding them"
    figures = {"scanned": len(scanned), "decoded": few.num_examples, "bad": len(drawn), "borne": allowed}
    if not expected:
        yield Finding(NOTE, looked, figures)
        return
    name, (reason, _) = next(iter({**scanned, **drawn}.items()))
    such = f"{looked} (such as {name}: {reason}), {allowed:,} are borne"
    if expected > allowed:
        yield Finding(
            WASTED, f"{such}; mend them (doctor --data names all) or raise --max_bad_images", figures
        )
    else:
        yield Finding(WARNING, f"{such}: others take their place; doctor --data names all", figures)


def types(run: Planned) -> Iterator[Finding]:
    """What a folder holds, and what of it has no decoder or is no image."""
    if run.source.census is None:
        return
    held = ", ".join(f"{count:,} {kind}" for kind, count in run.source.census.images.items())
    yield Finding(NOTE, f"{run.source.split} holds {held}")
    left_out = sum(reason.count for reason in run.source.census.left_out)
    if left_out:
        level = WARNING if left_out > limits.LEFT_OUT.value * run.source.num_examples else NOTE
        yield Finding(
            level,
            f"--dataset={run.source.name}: leaves out {run.source.census.says_left_out}; convert or move "
            "what you want to train on",
            {"left_out": left_out},
        )


def classes(run: Planned) -> Iterator[Finding]:
    """Images a class, of a stream among the first ones."""
    if not run.source.num_classes or run.source.multi_label:
        return
    labels = (
        run.source if isinstance(run.source, IndexedSource) else inputs.few(run.source, COMPARED)
    ).labels()
    counts = np.bincount(labels[labels >= 0], minlength=run.source.num_classes)
    least, most = int(counts.argmin()), int(counts.argmax())
    names, share = run.source.class_names, counts[most] / max(counts.sum(), 1)
    figures = {"smallest": int(counts[least]), "largest": int(counts[most]), "labelled": int(counts.sum())}
    if counts[most] >= limits.UNEVEN_CLASSES.value * max(counts[least], 1):
        yield Finding(
            WARNING,
            f"--dataset={run.source.name}: {counts[most]:,} images of {names[most]}, {counts[least]:,} of "
            f"{names[least]}: always saying {names[most]} is right {100 * share:.0f} times of 100; compare "
            "accuracies with that, and take --labels_per_class in finetune",
            figures,
        )
    else:
        yield Finding(NOTE, f"{len(counts)} classes of {counts[least]:,} to {counts[most]:,} images", figures)


def duplicates(run: Planned) -> Iterator[Finding]:
    """Images of the test split that are trained on: the same file, or the same picture."""
    if run.test is None:
        return
    test = f"--eval_split={run.test.split}"
    if shared := data.shared_images(run.source, run.test):
        yield Finding(
            WARNING, f"{test}: {shared:,} of its images are trained on too; name slices that lie apart"
        )
        return
    train, others = (inputs.few(source, COMPARED) for source in (run.source, run.test))
    (seen, names), (asked, other_names) = _thumbnails(train), _thumbnails(others)
    cosines = asked @ seen.T  # [m, n]
    found = np.flatnonzero(cosines.max(axis=1) >= limits.SAME_IMAGE.value)
    looked = f"{len(asked):,} of its images beside {len(seen):,} of {run.source.split}"
    figures = {"duplicates": len(found), "test_images": len(asked), "train_images": len(seen)}
    if not len(found):
        yield Finding(NOTE, f"{test}: {looked}: no picture is in both", figures)
        return
    first = found[0]
    pair = f"{other_names[first]} is {names[int(cosines[first].argmax())]}"
    yield Finding(
        WARNING,
        f"{test}: {looked}: {len(found):,} are in both ({pair}, ...); accuracy on them is no test: remove "
        "them from one",
        figures,
    )


def _thumbnails(source: Source) -> tuple[np.ndarray, list[str]]:
    """Centred grey thumbnails as vectors of length 1 (0 of a uniform image), float32 [n, 256]; ids."""

    def small(record: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        image = shrink_to_cover(source.decode(record["image"]), THUMBNAIL)
        return tf.reduce_mean(evaluation_view(image, THUMBNAIL, 1.0), axis=-1), record["id"]

    rows = source.records().map(small, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
    images, ids = zip(*rows.as_numpy_iterator(), strict=True)
    flat = np.stack(images).reshape([len(images), -1])
    flat = flat - flat.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    uniform = lengths < limits.FLAT_DEVIATION.value * np.sqrt(flat.shape[1])
    return np.where(uniform, 0, flat / np.maximum(lengths, 1e-6)), [name.decode() for name in ids]
