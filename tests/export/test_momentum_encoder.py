"""--export_momentum_encoder: the moving averages that a method keeps, in place of the trained parts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf

from export.__main__ import main
from tests.small_runs import Make, folder_of
from tf_simclr import pretrain
from tf_simclr.config import Config
from tf_simclr.evaluation.features import encoder_sha256
from tf_simclr.methods.method import Method
from tf_simclr.methods.state import Average, Queue
from tf_simclr.replicas.gather import replica_share
from tf_simclr.runs import loading


@dataclasses.dataclass(frozen=True)
class Follower(Method):
    """Half of the way to a slow copy of itself; what else it keeps is no copy."""

    figures: ClassVar[tuple[str, ...]] = ("distance",)

    def state(self, model: Any, image: tf.Tensor) -> dict[str, Any]:
        head = tf.keras.layers.Dense(4)
        head(model.encoder(image))
        return {
            "a_dense_layer": head,
            "half": Average([model.encoder], image),
            "slow": Average([model.encoder, model.projection_head], image),
            "the_queue": Queue(64, 8),
        }

    def targets(self, model: Any, views: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.stop_gradient(model.state["slow"](views, training=training))

    def loss(self, model: Any, outputs: Any, targets: Any, batch: Any) -> tuple[tf.Tensor, dict[str, Any]]:
        distance = tf.reduce_mean(tf.square(outputs - targets + 1.0))
        return replica_share(distance), {"distance": distance}

    def after_step(self, model: Any, outputs: Any, targets: Any, batch: Any) -> None:
        model.state["slow"].update(0.9)


@pytest.fixture(scope="module")
def following(tiny: Make) -> Config:
    config = tiny(method=f"{__name__}:Follower", train_steps=2)
    pretrain.pretrain(config)
    return config


@pytest.mark.slow
def test_the_copy_is_exported_and_the_card_says_so(following: Config, tmp_path: Path) -> None:
    run = str(folder_of(following))
    arguments = [f"--checkpoint={run}", f"--output_dir={tmp_path}", "--export_momentum_encoder"]
    assert main(arguments) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder", "projection_head"]

    reader = tf.train.load_checkpoint(f"{run}/checkpoints/ckpt-2")
    slow = loading.load_momentum_encoder(run)
    for part, stored in (
        ("encoder", "model/state/slow/layers/0/"),
        ("projection_head", "model/state/slow/layers/1/"),
    ):
        names = [name for name in reader.get_variable_to_shape_map() if name.startswith(stored)]
        kept = sorted(reader.get_tensor(name).tobytes() for name in names)
        loaded = {variable.numpy().tobytes() for variable in getattr(slow, part).variables}
        assert kept
        assert set(kept) <= loaded
    assert encoder_sha256(slow.encoder) != encoder_sha256(loading.load_run(run).encoder)
    assert slow.classifier is None

    images = tf.random.stateless_uniform([3, 8, 8, 3], [1, 2])
    exported = tf.saved_model.load(str(tmp_path / "encoder" / "2"))
    np.testing.assert_allclose(exported(images), slow.encoder(images), rtol=1e-5, atol=1e-5)
    facts = json.loads((tmp_path / "encoder" / "2" / "export.json").read_text())
    assert facts["momentum_encoder"]
    assert facts["encoder_sha256"] == encoder_sha256(slow.encoder)
    assert "(momentum encoder)" in (tmp_path / "encoder" / "2" / "README.md").read_text()


@pytest.mark.slow
def test_the_trained_ones_are_exported_unless_asked(following: Config, tmp_path: Path) -> None:
    assert main([f"--checkpoint={folder_of(following)}", f"--output_dir={tmp_path}"]) == 0
    facts = json.loads((tmp_path / "encoder" / "2" / "export.json").read_text())
    assert not facts["momentum_encoder"]
    trained = loading.load_run(str(folder_of(following))).encoder
    assert facts["encoder_sha256"] == encoder_sha256(trained)


def test_a_run_without_a_copy_is_one_line(
    pretrained: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"--checkpoint={folder_of(pretrained)}", f"--output_dir={tmp_path}"]
    assert main([*arguments, "--export_momentum_encoder"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("export: --export_momentum_encoder: ")
    assert not list(tmp_path.iterdir())
