"""How often the host waits for the device: a number of times a second, not a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr import finetune
from tf_simclr.config import Config, Steps
from tf_simclr.models import Classifier
from tf_simclr.runs.folder import RunFolder
from tf_simclr.training import fit, loop

Make = Callable[..., Config]
EAGER = next(kind for kind in type(tf.constant(0)).__mro__ if "_numpy" in vars(kind))


def fetches(config: Config, monkeypatch: pytest.MonkeyPatch) -> int:
    """Tensors and variables whose values a whole training brings to the host, all callbacks included."""
    count, fetch = 0, EAGER._numpy

    def counting(tensor: tf.Tensor) -> np.ndarray:
        nonlocal count
        count += 1
        return fetch(tensor)

    layers = [tf.keras.Input([2, 2, 3]), tf.keras.layers.Flatten(), tf.keras.layers.Dense(3)]
    model = Classifier(tf.keras.Sequential(layers), 2)
    model.compile(steps_per_execution=config.devices.steps_per_execution)
    batch = {"image": tf.zeros([4, 2, 2, 3]), "label": tf.constant([0, 1, 1, 0])}
    batches = tf.data.Dataset.from_tensors(batch).repeat()
    with monkeypatch.context() as patched:
        patched.setattr(EAGER, "_numpy", counting)
        fit(model, lambda *_: batches, config.steps(1000), RunFolder.open(config, finetune.COMMAND))
    assert model.optimizer.iterations == config.optimization.train_steps
    return count


@pytest.mark.parametrize("steps_a_call", [1, 3])
def test_fetches_do_not_grow_with_the_steps(
    tiny: Make, monkeypatch: pytest.MonkeyPatch, steps_a_call: int
) -> None:
    def counted(steps: int) -> int:
        options: dict[str, Any] = {"checkpoint_steps": 1000, "train_batch_size": 4}
        config = tiny("finetune", train_steps=steps, steps_per_execution=steps_a_call, **options)
        return fetches(config, monkeypatch)

    monkeypatch.setattr(loop, "SECONDS", 1e9)
    few = counted(5)
    assert counted(50) == few
    monkeypatch.setattr(loop, "SECONDS", 0)
    assert counted(50) > few + 45 // steps_a_call  # so they are seen


def test_metrics_are_read_where_they_are_due_and_after_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock)
    reading = loop.Reading(Steps(total=40, warmup=0, per_epoch=32, between_checkpoints=25))
    read = []
    for step in range(1, 41):
        clock += loop.SECONDS / 9.5
        if reading(step - 1, step, {"loss": tf.constant(1.5)}) == {"loss": 1.5}:
            read.append(step)
    assert read == [1, 11, 21, 25, 32, 40]
