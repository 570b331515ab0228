"""The representation of every image, computed once, and the proof that the encoder did not move."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from etils import epath

from tf_simclr.errors import Diverged, UsageError
from tf_simclr.files import write_npz
from tf_simclr.progress import progress_bar

Encode = Callable[[tf.Tensor], tf.Tensor]


class Features(NamedTuple):
    """Representations of n images: `values` float32 [n, D], `labels` int64 [n] ([n, C] multi-label),
    `ids` strings [n]."""

    values: np.ndarray
    labels: np.ndarray
    ids: np.ndarray


def encode_batches(
    encode: Encode,
    batches: Iterable[Mapping[str, tf.Tensor]],
) -> Iterator[Features]:
    """Yields the features of one batch after the other, in order, holding one at a time.

    Args:
      encode: images float32 [b, H, W, 3] in [0, 1] -> [b, D], in inference mode.
      batches: {"image", "label", "id"}, of which only the last may be smaller. It is padded with
        zeros, so that one compiled function of a fixed shape serves all.

    Raises:
      Diverged: where a feature is not finite, as after a diverged pretraining.
    """
    compiled = tf.function(encode)
    batch_size = 0
    for batch in progress_bar(batches, "features", leave=False, delay=5, unit=" batches"):
        images = tf.convert_to_tensor(batch["image"])
        count = int(images.shape[0])
        batch_size = batch_size or count
        padded = tf.pad(images, [[0, batch_size - count], [0, 0], [0, 0], [0, 0]])
        values = np.asarray(compiled(padded)[:count], np.float32)  # [b, D]
        if not np.isfinite(values).all():
            raise Diverged(
                "--checkpoint: the encoder gives features that are not finite; take an earlier one"
            )
        yield Features(values, np.asarray(batch["label"], np.int64), _strings(batch["id"]))


def extract_features(
    encode: Encode,
    batches: Iterable[Mapping[str, tf.Tensor]],
) -> Features:
    """All of `encode_batches` as one `Features`, in the order of the data.

    Raises:
      UsageError: where there is no image, or (`Diverged`) a feature is not finite.
    """
    parts = list(encode_batches(encode, batches))
    if not parts:
        raise UsageError("--eval_split: the split is empty; name one that holds images")
    return Features(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def cached_features(folder: str | os.PathLike[str], key: str, compute: Callable[[], Features]) -> Features:
    """Features from `folder` when they were stored there under `key`, else computed and stored.

    Args:
      folder: where the files lie; made when needed.
      key: all that the features depend on: `encoder_sha256`, the data's name, split and version,
        the preprocessing and the layer.
      compute: gives the features; called when the file is missing or damaged.
    """
    path = epath.Path(folder) / f"features_{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
    try:
        # The zip's CRC-32 finds damaged bytes.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if str(stored["key"]) == key:
                return Features(stored["values"], stored["labels"], stored["ids"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # missing or damaged: compute it
    features = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_npz(path, key=np.array(key), **features._asdict())
    return features


def encoder_sha256(model: tf.Module) -> str:
    """SHA-256 (hex) over all weights, batch-norm statistics included.

    It covers dtype, shape and bytes of each variable, child layers before their parents. It depends
    neither on the variables' names, which count the layers made so far in a process, nor on what is
    `trainable`, which reorders `model.variables`.
    """
    digest = hashlib.sha256()
    for variable in _ordered_variables(model):
        value = np.ascontiguousarray(variable.numpy())
        digest.update(f"{value.dtype} {value.shape}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _ordered_variables(model: tf.Module) -> list[tf.Variable]:
    wanted = {id(variable) for variable in model.variables}
    ordered: dict[int, tf.Variable] = {}
    for module in (*reversed(model.submodules), model):
        for variable in module.variables:
            if id(variable) in wanted:
                ordered.setdefault(id(variable), variable)
    return list(ordered.values())


def _strings(ids: tf.Tensor) -> np.ndarray:
    return np.array([text.decode() if isinstance(text, bytes) else str(text) for text in np.asarray(ids)])
