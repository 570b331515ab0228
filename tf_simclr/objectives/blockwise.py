"""NT-Xent block by block: the gradient needs z and the rows' log-sum-exps alone.

With s_ij = z_i . z_j / tau, p_ij = exp(s_ij - lse_i) and i' the other view of i, the sum of the losses
has the gradient

    d/dz_i = ( sum_j (p_ij + p_ji) z_j - 2 z_i' ) / tau,

in which p_ji = exp(s_ij - lse_j), as s is symmetric. So a strip of rows of s, made again in the backward
pass, gives its rows' gradient without any sum over replicas once all lse are known. On one replica
the strip over later columns also gives these columns what they lack: half the matrix suffices.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_simclr.objectives.statistics import mask_self, retrieval_sums
from tf_simclr.replicas.gather import gather_views, num_replicas, positions_of_views, sum_replicas
from tf_simclr.replicas.ordering import after


def blockwise_sums(
    z: tf.Tensor, temperature: float, block_size: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Sums over the N images of loss, correct retrievals and entropies.

    Args:
        z: [2n, d] with static n, float32 or float64.
        temperature: tau.
        block_size: rows of the similarity matrix held at a time.
    """

    @tf.custom_gradient
    def sums(z: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Callable[..., tf.Tensor]]:
        everything = gather_views(z)  # [2N, d]
        lse, correct, entropy = _forward(z, everything, temperature, block_size)
        positives = _other_view(z)  # [2n, d]
        own_loss = tf.reduce_sum(lse) - tf.reduce_sum(z * positives) / temperature
        totals = tf.unstack(sum_replicas(tf.stack([own_loss, correct, entropy])))
        all_lse = gather_views(lse)  # [2N]

        def gradient(d_loss: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
            attraction = _backward(z, everything, all_lse, temperature, block_size)
            return d_loss / temperature * (attraction - 2 * positives)

        return tuple(totals), gradient

    return sums(z)


def _forward(
    z: tf.Tensor, everything: tf.Tensor, temperature: float, block_size: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Log-sum-exp of every own row [2n], and the own images' sums of retrievals and entropies."""
    n, images = z.shape[0] // 2, everything.shape[0] // 2
    positions = positions_of_views(n)
    symmetric = num_replicas() == 1
    ahead = tf.fill([2 * images], z.dtype.min)  # what the rows so far give to the columns after them
    lse: list[tf.Tensor] = []
    statistics: list[tf.Tensor] = []
    done: list[tf.Tensor] = []
    for start, stop in _strips(n, block_size):
        first = start if symmetric else 0
        rows, columns = after(done, z[start:stop]), everything[first:]
        own_column = None if symmetric else positions[start:stop]
        logits = _logits(rows, columns, own_column, temperature)
        row = tf.reduce_logsumexp(logits, axis=1)
        if symmetric:
            size = stop - start
            row = _log_add_exp(row, ahead[:size])
            ahead = _log_add_exp(ahead[size:], tf.reduce_logsumexp(logits[:, size:], axis=0))
        if start < n:  # rows of view a; view b is the last N columns
            statistics.append(tf.stack(retrieval_sums(logits[:, -images:], positions[start:stop])))
        lse.append(row)
        done = [row, statistics[-1], *([ahead] if symmetric else [])]
    correct, entropy = tf.unstack(tf.add_n(statistics))
    return tf.concat(lse, axis=0), correct, entropy


def _backward(
    z: tf.Tensor,
    everything: tf.Tensor,
    all_lse: tf.Tensor,
    temperature: float,
    block_size: int,
) -> tf.Tensor:
    """sum_j (p_ij + p_ji) z_j for every own row i: [2n, d]."""
    n = z.shape[0] // 2
    positions = positions_of_views(n)
    lse = tf.gather(all_lse, positions)  # [2n]
    symmetric = num_replicas() == 1
    ahead = tf.zeros_like(everything)
    gradient: list[tf.Tensor] = []
    done = [all_lse]  # or XLA would take the forward pass's strips for these, and keep them
    for start, stop in _strips(n, block_size):
        first = start if symmetric else 0
        rows, columns = after(done, z[start:stop]), everything[first:]
        own_column = None if symmetric else positions[start:stop]
        logits = _logits(rows, columns, own_column, temperature)
        p_ij, p_ji = tf.exp(logits - lse[start:stop, tf.newaxis]), tf.exp(logits - all_lse[first:])
        weights = p_ij + p_ji
        row = tf.matmul(weights, columns)
        if symmetric:
            size = stop - start
            row = row + ahead[:size]
            ahead = ahead[size:] + tf.matmul(weights[:, size:], z[start:stop], transpose_a=True)
        gradient.append(row)
        done = [row, *([ahead] if symmetric else [])]
    return tf.concat(gradient, axis=0)


def _strips(n: int, block_size: int) -> list[tuple[int, int]]:
    """Row ranges of at most `block_size`, none across the border between the views."""
    starts = range(0, n, block_size)
    return [(view + start, view + min(start + block_size, n)) for view in (0, n) for start in starts]


def _logits(
    rows: tf.Tensor, columns: tf.Tensor, own_column: tf.Tensor | None, temperature: float
) -> tf.Tensor:
    return mask_self(tf.matmul(rows / temperature, columns, transpose_b=True), own_column)


def _other_view(z: tf.Tensor) -> tf.Tensor:
    """The positive of each row: [2n, d]."""
    return tf.roll(z, z.shape[0] // 2, axis=0)


def _log_add_exp(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.maximum(x, y) + tf.math.log1p(tf.exp(-tf.abs(x - y)))
