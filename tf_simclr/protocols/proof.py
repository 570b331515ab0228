"""The proof that an evaluation leaves the encoder alone: its weights and its batch-norm statistics."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.evaluation.features import encoder_sha256


class FrozenEncoderMoved(RuntimeError):
    """A bug: an evaluation trained what it promised to leave alone."""


@contextlib.contextmanager
def frozen(encoder: tf.Module, projection_head: tf.Module | None = None) -> Iterator[dict[str, Any]]:
    """Around an evaluation; yields what result.json says of it, complete at the end.

    Raises:
        FrozenEncoderMoved: encoder or projection head are not what they were.
    """
    proof: dict[str, Any] = {"encoder_sha256_before": encoder_sha256(encoder)}
    head = "" if projection_head is None else encoder_sha256(projection_head)
    yield proof
    proof["encoder_sha256_after"] = encoder_sha256(encoder)
    _require_unchanged("encoder", *proof.values())
    if projection_head is not None:
        _require_unchanged("projection head", head, encoder_sha256(projection_head))
        proof["projection_head_sha256"] = head


@contextlib.contextmanager
def unmoved(name: str, *parts: tf.Module) -> Iterator[dict[str, Any]]:
    """As `frozen`, of parts together, called by `name` in result.json.

    Raises:
        FrozenEncoderMoved: one of them is not what it was.
    """
    proof = {f"{name}_sha256_before": _of_all(parts)}
    yield proof
    proof[f"{name}_sha256_after"] = _of_all(parts)
    _require_unchanged(name, *proof.values())


def _of_all(parts: Sequence[tf.Module]) -> str:
    return hashlib.sha256(" ".join(map(encoder_sha256, parts)).encode()).hexdigest()


def _require_unchanged(part: str, before: str, after: str) -> None:
    if before != after:
        raise FrozenEncoderMoved(
            f"the frozen {part} changed: SHA-256 {before[:12]} before, {after[:12]} after"
        )
    print(f"{part} SHA-256 before and after: {before}")
