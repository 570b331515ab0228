"""Moving averages and queues, by hand; that they are kept, resumed, and shown to nobody."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf

from tests.small_runs import TINY
from tf_simclr import pretrain, runs
from tf_simclr.checks import parity
from tf_simclr.config import Config
from tf_simclr.errors import UsageError
from tf_simclr.methods.method import Method
from tf_simclr.methods.state import Average, Queue
from tf_simclr.networks import BatchNorm, ProjectionHead
from tf_simclr.replicas.gather import replica_share
from tf_simclr.runs import build


def test_an_average_starts_equal_and_follows() -> None:
    encoder, head = parity.small_encoder(), ProjectionHead(out_dim=3)
    images = tf.random.stateless_uniform([4, 8, 8, 3], [1, 2])
    head(encoder(images))
    average = Average([encoder, head], images[:1])
    np.testing.assert_array_equal(average(images), head(encoder(images)))
    expected = [variable.numpy() for variable in encoder.trainable_variables]
    for step in range(3):
        for variable in encoder.trainable_variables:
            variable.assign_add(tf.ones_like(variable) * (step + 1))
        average.update(0.9)
        now = encoder.trainable_variables
        expected = [0.9 * old + 0.1 * new.numpy() for old, new in zip(expected, now, strict=True)]
    for variable, value in zip(average.layers[0].trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-6)


def test_an_average_has_batch_statistics_of_its_own() -> None:
    encoder = tf.keras.Sequential([tf.keras.Input([2]), BatchNorm(decay=0.5)])
    rows = tf.constant([[0.0, 2.0], [2.0, 4.0]])
    average = Average([encoder], rows[:1])
    average(rows, training=True)
    np.testing.assert_allclose(average.layers[0].layers[0].moving_mean, [0.5, 1.5])
    np.testing.assert_allclose(encoder.layers[0].moving_mean, [0.0, 0.0])
    average.update(0.0)
    np.testing.assert_allclose(average.layers[0].layers[0].moving_mean, [0.5, 1.5])


def test_the_layers_that_an_average_follows_are_not_its_own() -> None:
    encoder = parity.small_encoder()
    average = Average([encoder], tf.zeros([1, 8, 8, 3]))
    own = {id(variable) for variable in average.variables}
    assert own == {id(variable) for variable in average.layers[0].variables}


@pytest.mark.slow
def test_a_pretraining_that_goes_on_from_a_checkpoint_averages_its_weights(tmp_path: Path) -> None:
    tiny = {**TINY, "method": f"{__name__}:WithState", "train_batch_size": 64, "train_steps": 1}
    first = Config("pretrain").replace(**tiny, model_dir=str(tmp_path / "first"))
    pretrain.pretrain(first)
    config = first.replace(checkpoint=str(tmp_path / "first"), seed=1)
    model = build.pretraining(config, 10, config.steps(1437))
    runs.initialize_encoder(model, config)
    average = model.state["target"].layers[0]
    for copy, variable in zip(average.variables, model.encoder.variables, strict=True):
        np.testing.assert_array_equal(copy, variable)


def test_an_encoder_that_cannot_be_made_again_is_refused() -> None:
    class Own(tf.keras.Model):
        def call(self, images: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(images, [1, 2])

        def get_config(self) -> dict[str, Any]:
            raise NotImplementedError("none")

    with pytest.raises(UsageError, match="get_config"):
        Average([Own(name="own")], tf.zeros([1, 4, 4, 3]))


def test_a_queue_is_first_in_first_out() -> None:
    queue = Queue(4, 2)
    np.testing.assert_allclose(tf.norm(queue.rows, axis=1), 1.0, rtol=1e-6)
    first = queue.rows.numpy()
    for number in range(3):
        queue.push(tf.fill([2, 2], float(number)))
        assert queue.start == 2 * (number + 1) % 4
    np.testing.assert_array_equal(queue.rows, [[2, 2], [2, 2], [1, 1], [1, 1]])
    assert not np.any(first == queue.rows.numpy())


@dataclasses.dataclass(frozen=True)
class WithState(Method):
    """Pulls z to a momentum copy's and away from a queue's mean: nobody's method, all of the state."""

    figures: ClassVar[tuple[str, ...]] = ("distance",)

    def state(self, model: Any, image: tf.Tensor) -> dict[str, Any]:
        average = Average([model.encoder, model.projection_head], image)
        return {"target": average, "queue": Queue(128, average(image).shape[-1], seed=1)}

    def targets(self, model: Any, views: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.stop_gradient(model.state["target"](views, training=training))

    def loss(self, model: Any, outputs: Any, targets: Any, batch: Any) -> tuple[tf.Tensor, dict[str, Any]]:
        apart = tf.tensordot(outputs, tf.reduce_mean(model.state["queue"].rows, axis=0), 1)
        distance = tf.reduce_mean(tf.square(outputs - targets)) + tf.reduce_mean(apart)
        return replica_share(distance), {"distance": distance}

    def after_step(self, model: Any, outputs: Any, targets: Any, batch: Any) -> None:
        model.state["target"].update(0.5)
        model.state["queue"].push(targets)


@pytest.mark.slow
def test_state_is_kept_and_resumed_and_seen_by_nobody(tmp_path: Path) -> None:
    tiny = {**TINY, "resnet_depth": 18, "train_batch_size": 64}
    config = Config("pretrain").replace(
        method=f"{__name__}:WithState", **tiny, model_dir=str(tmp_path / "run")
    )
    pretrain.pretrain(config)
    names = tf.train.load_checkpoint(str(tmp_path / "run" / "checkpoints" / "ckpt-6"))
    stored = set(names.get_variable_to_shape_map())
    assert "model/state/queue/rows/.ATTRIBUTES/VARIABLE_VALUE" in stored
    assert any(name.startswith("model/state/target/layers/0/") for name in stored)
    for path in (tmp_path / "run" / "checkpoints").glob("ckpt-6.*"):
        path.unlink()
    before = (tmp_path / "run" / "metrics.csv").read_bytes()
    pretrain.pretrain(config)
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == before
    run = runs.load_run(str(tmp_path / "run"))
    assert run.step == 6
    assert not hasattr(run, "state")
    assert sum(name.startswith("model/encoder/") for name in stored) == len(run.encoder.variables)
