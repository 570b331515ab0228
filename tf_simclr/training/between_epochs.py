"""What a method does between epochs, such as clustering its features."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from tf_simclr import inputs
from tf_simclr.config import Config, Steps
from tf_simclr.data import Source
from tf_simclr.methods import Method
from tf_simclr.training.callbacks import StepCallback


def watchers(
    config: Config, model: tf.keras.Model, source: Source, steps: Steps
) -> Callable[[int], list[StepCallback]]:
    """For `fit`: the method's `between_epochs`; none where it has none.

    The end of a run that is trained longer was no place for it: it is made up for.
    """
    if type(config.method).between_epochs is Method.between_epochs:
        return lambda start: []

    skipped = {old for step, old, _ in config.extended if step == old and old % steps.per_epoch == 0}

    def images() -> tf.data.Dataset:
        return inputs.evaluation_batches(config.data, source, replace=True)  # as many as there are positions

    def act(epoch: int) -> None:
        config.method.between_epochs(model, images, epoch)

    return lambda start: [_BetweenEpochs(start, steps, act, due=start == 0 or start in skipped)]


class _BetweenEpochs(StepCallback):
    """Calls `act` at once where `due`, and at the end of each epoch, before that step is saved."""

    def __init__(self, start: int, steps: Steps, act: Callable[[int], None], due: bool) -> None:
        super().__init__(start)
        self._steps, self._act, self._due = steps, act, due

    def on_train_begin(self) -> None:
        if self._due:
            self._act(self.step // self._steps.per_epoch)

    def on_steps(self, before: int, step: int, logs: Mapping[str, float]) -> None:
        epoch = step // self._steps.per_epoch
        if epoch > before // self._steps.per_epoch and step < self._steps.total:
            self._act(epoch)
