"""A user's Keras model as encoder, by --encoder=MODULE:FUNCTION: from pretraining to export."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from export.parts import Models
from export.saved_model import export_models, export_run
from tests.small_runs import TINY
from tf_simclr import finetune, knn, linear_eval, pretrain, runs
from tf_simclr.config import Config
from tf_simclr.config.stored import stored_config
from tf_simclr.errors import DoesNotFit, UsageError
from tf_simclr.networks import KerasEncoder

SMALL = f"{__name__}:small"
MOBILE = (
    "tensorflow.keras.applications:MobileNetV2(include_top=False, weights=None, pooling='avg', alpha=0.35, "
    "input_shape=[None, None, 3])"
)


def small(width: int = 6) -> tf.keras.Model:
    return tf.keras.Sequential(
        [
            tf.keras.Input([None, None, 3]),
            tf.keras.layers.Conv2D(width, 3, 2, name="conv"),
            tf.keras.layers.BatchNormalization(name="norm"),
            tf.keras.layers.GlobalAveragePooling2D(name="pool"),
        ]
    )


def flat() -> tf.keras.Model:
    return tf.keras.Sequential([tf.keras.Input([None, None, 3]), tf.keras.layers.Conv2D(4, 3)])


def of_64_pixels() -> tf.keras.Model:
    return tf.keras.Sequential([tf.keras.Input([64, 64, 3]), tf.keras.layers.Flatten()])


def drawing() -> tf.keras.Model:
    """What EfficientNet has: a counter that is no float, a frozen layer, dropout."""
    return tf.keras.Sequential(
        [
            tf.keras.Input([None, None, 3]),
            tf.keras.layers.Normalization(),
            tf.keras.layers.Conv2D(6, 3, 2, trainable=False),
            tf.keras.layers.BatchNormalization(),
            tf.keras.layers.Dropout(0.5),
            tf.keras.layers.GlobalAveragePooling2D(),
        ]
    )


def of_encoder(maker: str, **changes: Any) -> dict[str, Any]:
    rest = {name: value for name, value in TINY.items() if name not in ("resnet_depth", "width_multiplier")}
    return {**rest, "encoder": maker, **changes}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("own_encoder"))
    pretrain.pretrain(Config("pretrain").replace(**of_encoder(SMALL, model_dir=folder)))
    return folder


def test_the_plan_names_it(pretrained: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [f"--checkpoint={pretrained}", f"--model_dir={pretrained}_knn"]
    assert knn.main(arguments) == 0
    assert SMALL in capsys.readouterr().out


def test_a_run_that_calls_a_function_says_so_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for maker, said in ((SMALL, 1), ("tensorflow.keras.applications:MobileNetV2", 0), ("resnet", 0)):
        folder = tmp_path / str(said) / maker
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(
            Config("pretrain").replace(dataset="digits", encoder=maker).to_json()
        )
        for _ in range(2):
            assert stored_config(str(folder)).encoder.encoder == maker
        assert capsys.readouterr().err.count(f"has its encoder made by {maker}: use it only if") == said


@pytest.mark.slow
def test_its_run_is_evaluated_tuned_and_exported(pretrained: str, tmp_path: Path) -> None:
    options = of_encoder(SMALL, checkpoint=pretrained, optimizer="nesterov")
    linear = Config("linear_eval").replace(**options, model_dir=str(tmp_path / "linear"), augment=False)
    linear_eval.linear_eval(linear)
    tuned = Config("finetune").replace(**options, model_dir=str(tmp_path / "tuned"))
    finetune.finetune(tuned)
    run = runs.load_run(linear.run.model_dir)
    assert isinstance(run.encoder, KerasEncoder)
    with mock.patch("export.saved_model._verify"):
        exported = export_run(run, str(tmp_path / "exports"))
    assert SMALL in (exported[0] / "README.md").read_text()
    images = tf.random.stateless_uniform([2, 8, 8, 3], [1, 2])
    np.testing.assert_allclose(
        tf.saved_model.load(str(exported[0]))(images), run.encoder(images), rtol=1e-5, atol=1e-6
    )


def test_another_encoder_is_a_misfit_with_a_table(
    pretrained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wider = f"{SMALL}(width=7)"
    arguments = [f"--checkpoint={pretrained}", f"--encoder={wider}", f"--model_dir={tmp_path / 'out'}"]
    assert knn.main(arguments) == 2
    *_, first, table = re.split(r"(knn: .*)\n", capsys.readouterr().err)
    assert f"is --encoder={SMALL}; you asked for --encoder={wider}" in first
    assert any("[3, 3, 3, 6]" in row and "[3, 3, 3, 7]" in row for row in table.splitlines()), table
    config = Config("pretrain").replace(**of_encoder(wider, checkpoint=pretrained, model_dir=str(tmp_path)))
    with pytest.raises(DoesNotFit, match=r"--encoder"):
        pretrain.pretrain(config)


def test_keras_applications_are_encoders() -> None:
    encoder = KerasEncoder(MOBILE, 32)
    assert encoder.output_dim == 1280
    assert encoder(tf.zeros([2, 32, 32, 3])).shape == [2, 1280]
    again = KerasEncoder.from_config(encoder.get_config())
    assert [v.shape for v in again.variables] == [v.shape for v in encoder.variables]


def test_it_is_frozen_whole_or_not_at_all() -> None:
    encoder = KerasEncoder(SMALL)
    encoder.freeze(4)
    assert not encoder.trainable_variables
    encoder.freeze(-1)
    assert len(encoder.trainable_variables) == 4
    with pytest.raises(UsageError, match="--fine_tune_after_block=2"):
        encoder.freeze(2)


@pytest.mark.parametrize(
    ("maker", "words"),
    [
        ("no_such_module:make", "--encoder=no_such_module:make: cannot be imported"),
        (f"{__name__}:nothing", "cannot be imported"),
        (f"{__name__}:flat", "not one vector"),
        (f"{SMALL}(depth=3)", "unexpected keyword argument"),
        (f"{SMALL}(3)", r"give NAME, MODULE:NAME, or either with \(key=value"),
        ("builtins:dict", "which is no Keras 2 model"),
        ("vit", "none of MODULE:NAME"),
        (f"{SMALL}(width=1)(width=2)", "give NAME"),
        (f"{SMALL}(width=1, width=2)", "give NAME"),
        (f"{SMALL}(width={{[]: 1}})", "give NAME"),
        (f"{SMALL}(width='wide')", "--encoder="),
        (f"{__name__}:of_64_pixels", r"takes no images of 32 px \(--image_size\)"),
    ],
)
def test_what_is_no_encoder_is_refused_in_one_line(maker: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        KerasEncoder(maker)
    assert "\n" not in str(error.value)


def test_an_encoder_that_draws_and_counts_is_exported_and_verified(tmp_path: Path) -> None:
    models = Models(encoder=KerasEncoder(f"{__name__}:drawing", 8), image_size=8, step=1)
    (folder,) = export_models(models, str(tmp_path))  # which verifies it in a process of its own
    assert (folder / "saved_model.pb").exists()
