"""What was trained in Python is a run that the commands take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from export.saved_model import export_run
from tests.small_runs import TINY
from tf_simclr import finetune, knn, linear_eval, models, runs
from tf_simclr.errors import UsageError
from tf_simclr.methods.byol import BYOL
from tf_simclr.networks import KerasEncoder
from tf_simclr.runs import loading

SIDE = 8
IMAGES = np.random.default_rng(0).uniform(size=[2, SIDE, SIDE, 3]).astype(np.float32)
SMALL = f"{__name__}:small"


def small(width: int = 6, power: int = 1, channels: int = 3) -> tf.keras.Model:
    inputs = tf.keras.Input([None, None, channels])
    x = tf.keras.layers.Conv2D(width, 3, 2)(inputs)
    x = tf.keras.layers.BatchNormalization()(x)
    return tf.keras.Model(inputs, tf.keras.layers.GlobalAveragePooling2D()(x) ** power)


def resnet() -> models.ResNet:
    return models.ResNet(18, 0.0625, stem="cifar", batch_norm_decay=0.8)


def trained(
    encoder: tf.keras.Model, image: tuple[int, ...] = (SIDE, SIDE, 3), **options: Any
) -> models.SimCLR:
    """Three steps, so that no variable is as it was made."""
    head = models.ProjectionHead(num_layers=3, out_dim=4, hidden_dim=5, batch_norm="hidden")
    model = models.SimCLR(encoder, head, num_classes=10, **options)
    model.compile("adam")
    views = tf.random.stateless_uniform([8, 2, *image], [1, 2])
    batches = tf.data.Dataset.from_tensors({"views": views, "label": tf.range(8)})
    model.fit(batches.repeat(3), verbose=0)
    return model


ENCODERS = {
    "resnet": (resnet, ""),
    "by name": (lambda: KerasEncoder(SMALL, SIDE), ""),
    "own": (small, SMALL),
}


@pytest.mark.parametrize("name", [pytest.param("resnet", marks=pytest.mark.slow), "by name", "own"])
def test_a_run_holds_all_parts_as_they_were_trained(tmp_path: Path, name: str) -> None:
    make, maker = ENCODERS[name]
    model = trained(make(), temperature=0.3)
    folder = tmp_path / "run"
    models.save_run(model, folder, encoder=maker, class_names=[f"c{i}" for i in range(10)])
    run = runs.load_run(str(folder))
    assert run.step == 3
    assert (run.config.data.image_size, run.class_names[:2]) == (SIDE, ("c0", "c1"))
    assert run.settings["method"]["temperature"] == 0.3
    np.testing.assert_allclose(run.encoder(IMAGES), model.encoder(IMAGES), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.projection_head(run.encoder(IMAGES)), model(IMAGES), rtol=1e-5, atol=1e-6)
    logits = model.classifier(model.encoder(IMAGES))
    np.testing.assert_allclose(run.logits(IMAGES), logits, rtol=1e-4, atol=1e-6)
    if name != "own":
        assert run.encoder.get_config() == model.encoder.get_config()


def test_a_run_says_of_what_images_it_is(tmp_path: Path) -> None:
    model = trained(small(channels=1), image=(SIDE, 2 * SIDE, 1))
    models.save_run(model, tmp_path / "run", encoder=f"{SMALL}(channels=1)")
    data = runs.load_run(str(tmp_path / "run")).config.data
    assert (data.image_size, data.channels) == ("8x16", 1)
    models.save_run(model, tmp_path / "other", encoder=f"{SMALL}(channels=1)", image_size=(4, 4))
    assert runs.load_run(str(tmp_path / "other")).config.data.image_size == 4
    bands = models.SimCLR(small(channels=13), models.ProjectionHead(out_dim=4))
    bands.compile()
    with pytest.raises(UsageError, match="of images of 13 channels, the commands read 1 or 3"):
        models.save_run(bands, tmp_path / "bands", encoder=f"{SMALL}(channels=13)", image_size=SIDE)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("python") / "run"
    models.save_run(trained(small()), folder, encoder=SMALL)
    return str(folder)


def command(run: str, folder: Path, *more: str) -> list[str]:
    """The command line of a small evaluation of the run."""
    options = ("dataset", "train_batch_size", "train_steps", "warmup_epochs")
    flags = [f"--{name}={TINY[name]}" for name in options]
    return [f"--checkpoint={run}", f"--model_dir={folder}", *flags, *more]


def test_linear_evaluation_takes_it(saved: str, tmp_path: Path) -> None:
    assert linear_eval.main(command(saved, tmp_path / "linear", "--augment=false")) == 0
    assert json.loads((tmp_path / "linear" / "result.json").read_text())["top1"] > 5


@pytest.mark.slow
def test_knn_fine_tuning_and_export_take_it(saved: str, tmp_path: Path) -> None:
    assert knn.main([f"--checkpoint={saved}", f"--model_dir={tmp_path / 'knn'}", "--dataset=digits"]) == 0
    assert json.loads((tmp_path / "knn" / "result.json").read_text())["top1"] > 15
    assert finetune.main(command(saved, tmp_path / "tuned")) == 0
    (encoder, *_) = export_run(runs.load_run(str(tmp_path / "tuned")), str(tmp_path / "exports"))
    assert "simclr (objective nt_xent, temperature 0.1" in (encoder / "README.md").read_text()
    exported = export_run(runs.load_run(saved), str(tmp_path / "of_python"))
    served = tf.saved_model.load(str(exported[0]))
    np.testing.assert_allclose(served(IMAGES), runs.load_run(saved).encoder(IMAGES), rtol=1e-5, atol=1e-6)


def test_a_classifier_is_a_run_of_finetune(tmp_path: Path) -> None:
    model = models.Classifier(small(), 3, models.ProjectionHead(out_dim=4), head_layer=1)
    model.compile(tf.keras.optimizers.SGD(0.1))
    data = {"image": tf.constant(IMAGES), "label": tf.constant([0, 2])}
    model.fit(tf.data.Dataset.from_tensors(data), verbose=0)
    models.save_run(model, tmp_path / "run", encoder=SMALL, class_names=["a", "b", "c"])
    run = runs.load_run(str(tmp_path / "run"))
    assert (run.config.command, run.head_layer) == ("finetune", 1)
    np.testing.assert_allclose(run.logits(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-6)


def test_moving_averages_are_kept(tmp_path: Path) -> None:
    model = models.Pretraining(BYOL(), resnet(), models.ProjectionHead(out_dim=4))
    model.compile("sgd")
    for variable in model.encoder.variables:
        variable.assign(variable + 0.1)
    models.save_run(model, tmp_path / "run", image_size=SIDE)
    average = loading.load_momentum_encoder(str(tmp_path / "run"))
    target = model.state["target"].layers[0]
    np.testing.assert_allclose(average.encoder(IMAGES), target(IMAGES), rtol=1e-5, atol=1e-6)
    assert np.abs(average.encoder(IMAGES) - model.encoder(IMAGES)).max() > 1e-3


def test_what_no_run_could_tell_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    model = trained(small())
    refusals = {
        r"encoder is a Functional: name what makes another .*encoder='MODULE:FUNCTION": {},
        "encoder is a Functional: name what": {"encoder": "__main__:small"},
        "makes other variables than the model has": {"encoder": f"{SMALL}(width=7)"},
        "gives another h than the model's encoder": {"encoder": f"{SMALL}(power=2)"},
        "cannot be imported": {"encoder": f"{__name__}:nothing"},
    }
    for words, options in refusals.items():
        with pytest.raises(UsageError, match=words):
            models.save_run(model, folder, **options)
    plain = models.SimCLR(resnet(), tf.keras.layers.Dense(3))
    plain.compile()
    with pytest.raises(UsageError, match="image_size is not known before a training; give it"):
        models.save_run(plain, folder)
    with pytest.raises(UsageError, match="projection_head is a Dense; a run folder tells of"):
        models.save_run(plain, folder, image_size=SIDE)
    assert not folder.exists()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not empty; give another folder"):
        models.save_run(model, tmp_path, encoder=SMALL)
