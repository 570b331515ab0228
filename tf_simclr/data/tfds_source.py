"""Any data set of TensorFlow Datasets, as a stream whose images stay encoded."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterable
from typing import Any

import tensorflow as tf
from etils import epath

from tf_simclr.data import shards
from tf_simclr.data.records import UNLABELLED, Record, StreamSource
from tf_simclr.errors import Damaged, EmptySplit, UsageError

_METADATA = ("dataset_info.json", "features.json")


def tfds_splits(dataset: str, data_dir: str) -> tuple[str, ...]:
    """Names of the splits of a prepared data set; prepares it when it can."""
    return tuple(_prepared_builder(dataset, data_dir).info.splits)


def open_tfds(dataset: str, split: str, data_dir: str) -> StreamSource:
    """Opens NAME, NAME:VERSION or NAME/CONFIG; `split` may be sliced as TFDS does it (`train[:10%]`)."""
    import tensorflow_datasets as tfds

    builder = _prepared_builder(dataset, data_dir)
    size = _split_size(builder, dataset, split)
    stretches = tuple(
        (str(read.filename), read.skip, read.skip + read.take)
        for read in builder.info.splits[split].file_instructions
    )
    for whole in builder.info.splits.values():
        shards.require_whole(dataset, whole, {file for file, _, _ in stretches})
    features = builder.info.features
    image_key = _key_of(features, tfds.features.Image, preferred="image")
    if image_key is None:
        raise UsageError(f"--dataset={dataset}: this TFDS data set has no image feature")
    label_key = _key_of(features, tfds.features.ClassLabel, preferred="label")
    stream = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders={key: tfds.decode.SkipDecoding() for key in _keys_of(features, tfds.features.Image)},
        read_config=tfds.ReadConfig(add_tfds_id=True, try_autocache=False),
    )

    classes = features[label_key] if label_key else _label_lists(features)

    def to_record(example: Record) -> Record:
        if label_key:
            label = tf.cast(example[label_key], tf.int64)
        elif classes:
            label = _multi_hot(example, classes.num_classes)
        else:
            label = tf.constant(UNLABELLED, tf.int64)
        return {"image": example[image_key], "label": label, "id": example["tfds_id"]}

    source = StreamSource(
        dataset,
        split,
        str(builder.version),
        classes.names if classes else (),
        stream=stream.map(to_record),
        num_examples=size,
    )
    source.multi_label = bool(classes) and not label_key
    source.stretches = stretches
    return source


def _label_lists(features: Any) -> Any:
    """The classes of a data set whose images have a list of `labels` each, as VOC's; None without."""
    import tensorflow_datasets as tfds

    if "labels" not in features:
        return None
    inner = getattr(features["labels"], "feature", None)
    return inner if isinstance(inner, tfds.features.ClassLabel) else None


def _multi_hot(example: Record, num_classes: int) -> tf.Tensor:
    """int64 [C]: 1 present, 0 absent, -1 where all objects of the class are marked difficult (VOC)."""
    listed = _any_of(example["labels"], num_classes)
    clear = _any_of(example.get("labels_no_difficult", example["labels"]), num_classes)
    return tf.where(listed & ~clear, tf.constant(-1, tf.int64), tf.cast(clear, tf.int64))


def _any_of(labels: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Which classes a list of labels [k] names, bool [C]."""
    return tf.reduce_any(
        tf.one_hot(labels, num_classes, on_value=True, off_value=False, dtype=tf.bool), axis=0
    )


def _keys_of(features: Any, kind: type) -> list[str]:
    return [key for key, feature in features.items() if isinstance(feature, kind)]


def _key_of(features: Any, kind: type, preferred: str) -> str | None:
    keys = _keys_of(features, kind)
    return preferred if preferred in keys else next(iter(keys), None)


def _split_size(builder: Any, dataset: str, split: str) -> int:
    available = ", ".join(builder.info.splits)
    try:
        size = builder.info.splits[split].num_examples
    except (KeyError, ValueError, AssertionError) as error:
        raise UsageError(f"--dataset={dataset} has no split {split!r}; available: {available}") from error
    if size == 0:
        raise EmptySplit(f"--dataset={dataset}: split {split!r} is empty; available: {available}")
    return size


def _prepared_builder(dataset: str, data_dir: str) -> Any:
    import tensorflow_datasets as tfds

    unknown = (
        f"--dataset={dataset}: no such TFDS data set; for a folder of images write --dataset=folder:PATH"
    )
    if dataset.startswith((".", "/", "~")) or "://" in dataset:
        raise UsageError(unknown)
    try:
        builder = tfds.builder(dataset, data_dir=data_dir or None)
    except tfds.core.DatasetNotFoundError as error:
        _require_metadata(dataset, _folders(dataset, data_dir))
        raise UsageError(unknown) from error
    except Exception as error:  # whatever reading its files raises
        _require_metadata(dataset, _folders(dataset, data_dir))
        reason = f"--dataset={dataset}: {_first_line(error)}"
        raise UsageError(unknown if tf.io.gfile.isdir(dataset) else reason) from error
    if not builder.is_prepared():
        _require_metadata(dataset, [epath.Path(builder.data_dir)])
        _prepare(builder, dataset)
    return builder


def _folders(dataset: str, data_dir: str) -> list[epath.Path]:
    """Where versions of a data set are, as far as it is prepared."""
    import tensorflow_datasets as tfds

    root = epath.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    name = dataset.partition(":")[0]
    found = [path for below in ("*", "*/*") for path in root.glob(f"{name}/{below}/*.tfrecord*")]
    return sorted({path.parent for path in found})


def _require_metadata(dataset: str, folders: Iterable[epath.Path]) -> None:
    """Damaged with the file that describes a prepared data set and is missing or damaged."""
    for file in (folder / name for folder in folders for name in _METADATA):
        if not any(file.parent.glob("*.tfrecord*")) or "incomplete" in str(file):
            continue  # never prepared
        try:
            json.loads(file.read_text())
        except (OSError, ValueError) as error:  # not there, cut, not UTF-8
            reason = f"is damaged ({_first_line(error)})" if file.exists() else "is missing"
            raise Damaged(f"--dataset={dataset}: {file} {reason}; {shards.ADVICE}") from error


def _prepare(builder: Any, dataset: str) -> None:
    missing = f"--dataset={dataset} is not prepared in {builder.data_dir}"
    advice = "set --data_dir to the TFDS folder that holds it, or prepare it there (`tfds build`)"
    if _offline():
        raise UsageError(f"{missing} and there is no network to download it; {advice}")
    try:
        builder.download_and_prepare()
    except Exception as error:  # whatever the data set's own download code raises
        raise UsageError(f"{missing} and preparing it failed ({_first_line(error)}); {advice}") from error


def _offline() -> bool:
    """Whether names can't be resolved: TFDS itself would retry for minutes before it says so."""
    if urllib.request.getproxies():
        return False
    try:
        socket.getaddrinfo("www.tensorflow.org", 443)
    except OSError:
        return True
    return False


def _first_line(error: Exception) -> str:
    """The first line of an error, short enough for one line of ours."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
