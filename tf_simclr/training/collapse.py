"""Whether a pretraining collapses, every epoch: how far z spreads and how many directions h uses."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from tf_simclr import inputs
from tf_simclr.config import Config, Steps
from tf_simclr.data import Source
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.table import Table
from tf_simclr.training.callbacks import StepCallback, due, write_scalars

NAME = "collapse.csv"
FEWEST, MOST, SHARE = 128, 512, 8  # images: an eighth of the training images between these bounds
COLLAPSED = 0.1
UNSETTLED = 0.01  # of batch norm's moving statistics: what is left of their first values when z is judged


def watchers(
    config: Config, model: tf.keras.Model, source: Source, steps: Steps, run: RunFolder
) -> Callable[[int], list[StepCallback]]:
    """For `fit`: collapse.csv and TensorBoard after every epoch and at the end."""
    settled = _settled(config.encoder.batch_norm_decay)
    return lambda start: [_EveryEpoch(start, steps, run, Detector(model, sample(config, source)), settled)]


def sample(config: Config, source: Source) -> list[np.ndarray]:
    """Batches uint8 [b, H, W, C] of few training images, centre crop: 77 MB at most at 224 px.

    They are spread evenly over a source that can be indexed; of a stream they are the first ones.
    """
    few = inputs.few(source, min(MOST, max(FEWEST, source.num_examples // SHARE)))
    batches = inputs.evaluation_batches(config.data, few)
    return [tf.image.convert_image_dtype(batch["image"], tf.uint8).numpy() for batch in batches]


class Detector:
    """The figures of one replica's encoder and head in inference mode; nothing is changed or drawn."""

    def __init__(self, model: tf.keras.Model, batches: list[np.ndarray]) -> None:
        self._batches = batches
        image = tf.TensorSpec([None, *batches[0].shape[1:]], tf.uint8)

        @tf.function(input_signature=[image])
        def represent(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            h = model.encoder(tf.image.convert_image_dtype(images, tf.float32))
            return h, model.projection_head(h)

        self._represent = represent

    def __call__(self) -> dict[str, float]:
        parts = zip(*map(self._represent, self._batches), strict=True)
        h, z = (np.concatenate(rows).astype(np.float64) for rows in parts)  # [n, D], [n, P]
        return {"z_std": relative_std(z), "h_effective_rank": effective_rank(h)}


def relative_std(z: np.ndarray) -> float:
    """The deviation of each dimension of l2-normalised z [n, P], averaged, times sqrt(P).

    1 where z is spread over the whole sphere, 0 where all are one (Chen & He, 2021, SimSiam, Sec. 4.1).
    """
    norms = np.linalg.norm(z, axis=1, keepdims=True)
    unit = z / np.maximum(norms, np.finfo(z.dtype).tiny)
    return float(unit.std(axis=0).mean() * np.sqrt(z.shape[1]))


def effective_rank(h: np.ndarray) -> float:
    """exp of the entropy of centred h's [n, D] singular values, as shares of their sum.

    Roy & Vetterli (2007); of representations, RankMe of Garrido et al. (2023), who do not centre. It is at
    most min(n - 1, D); 0 where all rows are one, NaN where one is not finite.
    """
    if not np.isfinite(h).all():
        return float("nan")
    with threadpool_limits(1):  # several threads wait for each other on a machine that has other work
        singular = np.linalg.svd(h - h.mean(axis=0), compute_uv=False)
    shares = singular[singular > 0] / max(singular.sum(), np.finfo(h.dtype).tiny)
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0


class _EveryEpoch(StepCallback):
    """Writes the figures; warns once, the first time that z has collapsed after `settled` steps."""

    def __init__(self, start: int, steps: Steps, run: RunFolder, detector: Detector, settled: int) -> None:
        super().__init__(start)
        self._steps, self._detector, self._settled = steps, detector, settled
        self._table = Table(run, NAME, start, steps.per_epoch)
        self._writer = tf.summary.create_file_writer(str(run.logs))
        self._warned = any(self._collapsed(int(row["step"]), float(row["z_std"])) for row in self._table.rows)

    def on_steps(self, before: int, step: int, logs: Mapping[str, float]) -> None:
        if not due(before, step, self._steps.per_epoch, self._steps.total):
            return
        figures = self._detector()
        self._table.append({"step": step, **figures})
        write_scalars(self._writer, step, figures)
        if self._collapsed(step, figures["z_std"]) and not self._warned:
            self._warned = True
            print(_warning(step, figures["z_std"]), file=sys.stderr, flush=True)

    def _collapsed(self, step: int, std: float) -> bool:
        return step >= self._settled and std < COLLAPSED


def _settled(decay: float) -> int:
    """Steps until moving statistics are those of the data: until then z is off centre in inference mode."""
    return math.ceil(math.log(UNSETTLED) / math.log(min(max(decay, UNSETTLED), 1 - 1e-6)))


def _warning(step: int, std: float) -> str:
    return (
        f"warning: at step {step} all images have nearly the same z (z_std {std:.2g} in {NAME}; 1 is "
        f"healthy, below {COLLAPSED} collapsed): lower --learning_rate or raise --warmup_epochs; where "
        "--method has no negatives, go back to its published momentum and predictor"
    )
