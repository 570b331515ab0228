"""The paper's batch of 4096 where there are fewer images than that."""

from __future__ import annotations

from tf_simclr.config import Config
from tf_simclr.config.groups import Optimization


def with_fitting_batch(config: Config, num_examples: int) -> Config:
    """The default batch cut to the largest power of two that `num_examples` fill; another one is left alone.

    A batch of several epochs would train for a step or two at the rate of 4096 images.
    """
    batch = config.optimization.train_batch_size
    if batch != Optimization().train_batch_size or batch <= num_examples:
        return config
    fitting = max(2, 1 << (num_examples.bit_length() - 1))
    print(
        f"{num_examples:,} images to train on: batches of {fitting:,} in place of {batch:,}; "
        "--train_batch_size sets another"
    )
    return config.replace(train_batch_size=fitting)
