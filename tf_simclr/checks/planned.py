"""A run that has not begun, opened as its command would open it; nothing is written."""

from __future__ import annotations

import dataclasses
import functools

import tensorflow as tf

from tf_simclr import inputs
from tf_simclr.augment import Augmentations
from tf_simclr.checks import sizes
from tf_simclr.config import Config, Steps
from tf_simclr.data import Source
from tf_simclr.devices import strategies
from tf_simclr.devices.cluster import this_worker
from tf_simclr.errors import UsageError
from tf_simclr.optimizers import scaled_learning_rate
from tf_simclr.runs import build


@dataclasses.dataclass(frozen=True)
class Planned:
    """What the checks look at.

    Attributes:
        config: the run's, its batch cut to the data as pretraining cuts it.
        source: the images to train on.
        test: those that the online classifier is tested on; None where there are none.
        strategy: of its replicas.
    """

    config: Config
    source: Source
    test: Source | None
    strategy: tf.distribute.Strategy

    @property
    def batch(self) -> int:
        return self.config.optimization.train_batch_size

    @property
    def replicas(self) -> int:
        return int(self.strategy.num_replicas_in_sync)

    @property
    def steps(self) -> Steps:
        return self.config.steps(self.source.num_examples)

    @property
    def peak_rate(self) -> float:
        train = self.config.optimization
        return scaled_learning_rate(train.learning_rate, self.batch, train.learning_rate_scaling)

    @functools.cached_property
    def sizes(self) -> sizes.Sizes:
        return sizes.of(self.config, self.replicas)

    @functools.cached_property
    def augmentations(self) -> Augmentations:
        return build.augmentations(self.config)

    def with_batch(self, images: int) -> Config:
        """The same with another batch, made here and now: no cache is filled, no service asked."""
        here = {"cache_dataset": False, "cache_dir": "", "data_service": "", "steps_per_execution": 1}
        return self.config.replace(train_batch_size=images, **here)


def of(config: Config) -> Planned:
    """Opens data and devices of a pretraining.

    Raises:
        UsageError: as the pretraining itself would; or TF_CONFIG names several workers.
    """
    if this_worker(config.devices).count > 1:
        raise UsageError("TF_CONFIG: doctor looks at one machine; run it without, on each kind that you have")
    strategy = strategies.set_up(config)
    source = inputs.pretraining_source(config)
    config.method.check_data(source.num_examples)
    config = inputs.with_fitting_batch(config, source.num_examples)
    return Planned(config, source, inputs.optional_eval_source(config), strategy)
