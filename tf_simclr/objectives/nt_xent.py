"""NT-Xent, the normalised temperature-scaled cross entropy (Sec. 2.1, Eq. 1, Alg. 1)."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.objectives.blockwise import blockwise_sums
from tf_simclr.objectives.statistics import Contrast, log_sum_exp_without_self, retrieval_sums
from tf_simclr.objectives.unit import unit
from tf_simclr.replicas.gather import gather_views, num_replicas, positions_of_views, sum_replicas


def nt_xent(
    projections: tf.Tensor,
    temperature: float,
    l2_normalize: bool = True,
    block_size: int | None = None,
) -> Contrast:
    """NT-Xent of a batch of N images in two views, over all replicas of a strategy.

    The scale is that of the authors' code, mean over images of l(a, b) + l(b, a), which is twice the
    L of Alg. 1; the published models were trained with it.

    Under a strategy with R replicas, call it in the replica context with the replica's own 2n rows
    (N = R n); the negatives are those of all replicas. `loss` is the global loss on every replica,
    and its gradient on a replica is that replica's part of the global gradient: summing the
    gradients over replicas, as Keras optimizers do, gives the full batch's. So it is NOT divided by
    the number of replicas, while losses that are means over the replica's own images are.

    Computed in float32, in float64 for float64 projections.

    Args:
        projections: z, [2n, d], any float dtype, view a of the n images, then view b.
        temperature: tau > 0.
        l2_normalize: True compares by cosine, False by dot product.
        block_size: None holds the full [2n, 2N] similarity matrix. k works through it k rows at a
            time and keeps z and the rows' log-sum-exps alone for the gradient: memory O(k N + N d)
            instead of O(n N). Any k >= 1 will do; 256 to 1024 are fast. The number of rows must
            be known when the function is traced.

    Raises:
        UsageError: if `temperature` is not above 0, if `block_size` is below 1, or given for a batch of
            unknown size.
    """
    if isinstance(temperature, int | float) and not temperature > 0:
        raise UsageError(f"temperature={temperature}: must be greater than 0")
    if l2_normalize:
        z = unit(projections)
    else:
        z = tf.cast(projections, tf.float64 if projections.dtype == tf.float64 else tf.float32)
    images = (z.shape[0] or tf.shape(z)[0]) // 2 * num_replicas()  # N
    if block_size is None:
        loss, correct, entropy = _full_matrix_sums(z, temperature)
    else:
        _check_block_size(block_size, z)
        loss, correct, entropy = blockwise_sums(z, temperature, block_size)
    images = tf.cast(images, z.dtype)
    return Contrast(loss / images, correct / images, entropy / images)


def _full_matrix_sums(z: tf.Tensor, temperature: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Sums over the N images of loss, correct retrievals and entropies."""
    everything = gather_views(z)  # [2N, d]
    positions = positions_of_views(tf.shape(z)[0] // 2)  # [2n]
    logits = tf.matmul(z / temperature, everything, transpose_b=True)  # [2n, 2N]
    view_a, view_b = tf.split(z, 2)
    positives = tf.reduce_sum(view_a * view_b) / temperature
    own_column = positions if num_replicas() > 1 else None
    own_loss = tf.reduce_sum(log_sum_exp_without_self(logits, own_column)) - 2 * positives  # Eq. 1
    logits_ab = tf.split(tf.split(logits, 2)[0], 2, axis=1)[1]  # [n, N]
    correct, entropy = retrieval_sums(tf.stop_gradient(logits_ab), tf.split(positions, 2)[0])
    loss, correct, entropy = tf.unstack(
        sum_replicas(tf.stop_gradient(tf.stack([own_loss, correct, entropy])))
    )
    # The gathered projections' gradient already sums over replicas: differentiate the own part only.
    return own_loss + tf.stop_gradient(loss - own_loss), correct, entropy


def _check_block_size(block_size: int, z: tf.Tensor) -> None:
    if block_size < 1:
        raise UsageError(f"loss_block_size: block size does not fit: {block_size} is below 1")
    if z.shape[0] is None:
        raise UsageError("loss_block_size: needs batches of a fixed size; use batch(drop_remainder=True)")
