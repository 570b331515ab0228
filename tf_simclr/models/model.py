"""What all models here are as Keras models: mistakes are one line, and no file holds the whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn

import tensorflow as tf

from tf_simclr.errors import UsageError
from tf_simclr.models.contracts import RANGE, SHARES

_RULES = {RANGE: f"a batch has {RANGE}", SHARES: f"views: {SHARES}"}


class Model(tf.keras.Model):
    """A Keras model whose mistakes reach the user as they were made."""

    def fit(self, *arguments: Any, **options: Any) -> tf.keras.callbacks.History:
        with as_made(self):
            return super().fit(*arguments, **options)

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        with as_made(self):
            return super().evaluate(*arguments, **options)

    def save(self, *arguments: Any, **options: Any) -> NoReturn:
        self.get_config()

    def get_config(self) -> NoReturn:
        """Refuses, as `save` does: encoders, augmentations and methods of any kind are not made from a file.

        Raises:
            UsageError: always, with what keeps what was trained.
        """
        raise UsageError(
            f"{self.name}: is not saved whole; models.save_run(model, FOLDER) makes a run folder of it, "
            "save_weights keeps its weights, model.encoder.save the encoder"
        )


@contextlib.contextmanager
def as_made(model: tf.keras.Model) -> Iterator[None]:
    """Raises the mistake in place of what Keras and AutoGraph make of it, which is a page.

    Steps are traced anew after it: half a trace is of no use to what the user tries next.
    """
    try:
        yield
    except Exception as error:
        model.train_function = model.test_function = None
        found: BaseException | None = error
        while found is not None and not isinstance(found, UsageError):
            found = found.__cause__ or found.__context__
        if found is None and isinstance(error, tf.errors.InvalidArgumentError):
            found = next((UsageError(said) for rule, said in _RULES.items() if rule in str(error)), None)
        if found is None or found is error:
            raise
        raise found from None
