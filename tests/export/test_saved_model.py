"""What an export computes, against the live model, and when it is written."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.parts import Models, float32_copy
from export.saved_model import export_models
from tf_simclr.data.views import decode_image, evaluation_view
from tf_simclr.errors import UsageError
from tf_simclr.models import ResNet


def load(exports: Path, model: str) -> object:
    return tf.saved_model.load(str(exports / model / "1000"))


def images(batch: int, height: int = 32, width: int = 32) -> tf.Tensor:
    return tf.random.stateless_uniform([batch, height, width, 3], seed=[batch, height])


def close(found: tf.Tensor, expected: tf.Tensor) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 32), (5, 40, 28)])
def test_encoder_equals_the_live_one(exports: Path, models: Models, batch: int, height: int, width: int):
    encoder, inputs = load(exports, "encoder"), images(batch, height, width)
    close(encoder(inputs), models.encoder(inputs))
    close(encoder(inputs, training=True), float32_copy(models.encoder, inputs.shape)(inputs, training=True))


def test_exporting_changes_nothing_in_the_live_model(models: Models, small: Models, tmp_path: Path):
    live = dataclasses.replace(small, encoder=models.encoder)
    before = [variable.numpy() for variable in models.encoder.variables]
    export_models(live, str(tmp_path))
    for variable, value in zip(models.encoder.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_head_has_its_layers_by_name(exports: Path, models: Models):
    head, h = load(exports, "projection_head"), tf.random.stateless_uniform([4, 128], [1, 2])
    _, first, z = models.projection_head.layer_outputs(h)
    close(head.layer1(h), first)
    close(head.layer2(head.layer1(h)), z)
    close(head(h), z)
    close(head.signatures["serving_default"](representations=h)["default"], z)
    assert len(head.layer1.trainable_variables) + len(head.layer2.trainable_variables) == len(
        head.trainable_variables
    )


def test_classifier_reads_the_chosen_head_layer(exports: Path, models: Models):
    model, inputs = load(exports, "classifier"), images(2)
    logits = models.classifier(models.projection_head.layer_outputs(models.encoder(inputs))[1])
    close(model(inputs), logits)
    served = model.signatures["serving_default"](images=inputs)
    close(served["default"], logits)
    close(served["probabilities"], tf.nn.softmax(logits))


def test_class_names_are_in_the_assets(exports: Path, models: Models):
    path = load(exports, "classifier").class_names.asset_path.numpy().decode()
    assert Path(path).read_text(encoding="utf-8").splitlines() == list(models.class_names)


def test_served_bytes_see_the_evaluation_view(exports: Path, models: Models):
    pictures = [
        tf.cast(tf.random.stateless_uniform(shape, [1, 2], 0, 255, tf.int32), tf.uint8)
        for shape in ([40, 60, 3], [33, 20, 3])
    ]
    grey = pictures[0][..., :1]
    files = [
        tf.io.encode_png(pictures[0]),
        tf.io.encode_jpeg(pictures[1]),
        tf.io.encode_png(grey),
    ]
    views = tf.stack([evaluation_view(decode_image(file), 32) for file in files])
    served = load(exports, "encoder").signatures["serving_bytes"](image_bytes=tf.stack(files))
    close(served["default"], models.encoder(views))


def test_served_bytes_follow_the_evaluation_of_the_run(small: Models, tmp_path: Path):
    (folder,) = export_models(
        dataclasses.replace(small, center_crop_fraction=0.5, resize_first=True), str(tmp_path)
    )
    picture = tf.cast(tf.random.stateless_uniform([20, 30, 3], [1, 2], 0, 255, tf.int32), tf.uint8)
    served = tf.saved_model.load(str(folder)).signatures["serving_bytes"]
    view = evaluation_view(picture, 4, 0.5, resize_first=True)
    close(
        served(image_bytes=tf.io.encode_png(picture)[tf.newaxis])["default"], small.encoder(view[tf.newaxis])
    )
    assert np.max(np.abs(view - evaluation_view(picture, 4))) > 0.01


def test_facts_and_model_card(exports: Path, models: Models):
    facts = json.loads((exports / "encoder" / "1000" / "export.json").read_text())
    expected = {"model": "encoder", "step": 1000, "image_size": 32, "git_commit": "0123abc", "top1": 87.5}
    expected |= {"representation_dim": 128, "projection_dim": 16, "config": dict(models.config)}
    assert expected.items() <= facts.items()
    assert len(facts["weights_sha256"]) == 64
    card = (exports / "classifier" / "1000" / "README.md").read_text()
    assert "digits" in card
    assert "87.50 %" in card
    assert facts["weights_sha256"] not in card  # the classifier's own


def test_copy_is_float32_unfrozen_and_plain_whatever_the_run_was():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        encoder = ResNet(18, width_multiplier=0.25, stem="cifar")
        encoder.freeze(2)  # lists its variables in another order from now on
        copy = float32_copy(encoder, [1, 32, 32, 3])
        assert tf.keras.mixed_precision.global_policy().name == "mixed_bfloat16"
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert copy.get_config()["global_bn"] is False
    assert copy.compute_dtype == "float32"
    assert len(copy.trainable_variables) == 63
    named = dict(encoder.variables_in_creation_order())
    for path, variable in copy.variables_in_creation_order():
        np.testing.assert_array_equal(variable, named[path])
    exact = ResNet.from_config(copy.get_config())
    exact.set_weights(copy.get_weights())
    np.testing.assert_array_equal(copy(images(2)), exact(images(2)))


def test_encoder_of_a_users_with_a_regularisation_loss(small: Models, tmp_path: Path):
    (folder,) = export_models(small, str(tmp_path))
    loaded = tf.saved_model.load(str(folder))
    kernel = small.encoder.dense.kernel
    (loss,) = loaded.regularization_losses
    close(loss(), 0.5 * tf.reduce_sum(kernel**2))
    with tf.GradientTape() as tape:
        value = loss()
    close(tape.gradient(value, loaded.trainable_variables)[0], kernel)


def test_existing_number_is_refused_then_overwritten(small: Models, tmp_path: Path):
    (folder,) = export_models(small, str(tmp_path))
    (folder / "mine.txt").write_text("old")
    with pytest.raises(UsageError, match="--overwrite"):
        export_models(small, str(tmp_path))
    assert (folder / "mine.txt").exists()
    export_models(small, str(tmp_path), overwrite=True)
    assert not (folder / "mine.txt").exists()
    assert [child.name for child in folder.parent.iterdir()] == ["1000"]


def test_another_step_leaves_the_old_one_alone(small: Models, tmp_path: Path):
    (old,) = export_models(small, str(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in old.rglob("*")}
    export_models(dataclasses.replace(small, step=2000), str(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in old.rglob("*")} == before
    assert {child.name for child in old.parent.iterdir()} == {"1000", "2000"}


@pytest.mark.parametrize("where", ["_verify", "model_card.text"])
def test_failed_export_leaves_nothing(
    small: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
):
    def fail(_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(f"export.saved_model.{where}", fail)
    with pytest.raises(RuntimeError, match="no"):
        export_models(small, str(tmp_path))
    assert list((tmp_path / "encoder").iterdir()) == []


def test_failed_overwriting_keeps_the_old(small: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (folder,) = export_models(small, str(tmp_path))
    monkeypatch.setattr("export.saved_model.tf.saved_model.save", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_models(small, str(tmp_path), overwrite=True)
    assert (folder / "saved_model.pb").exists()


KILLED = """
import os, signal, sys
from export.folders import versions
with versions(sys.argv[1], 7, overwrite=False) as pending:
    (pending.folder("encoder") / "saved_model.pb").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_export_leaves_no_number(tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    (left,) = (tmp_path / "encoder").iterdir()
    assert left.name.startswith(".7-")  # hidden, and no integer to TensorFlow Serving


def test_remote_folder_is_refused(small: Models):
    with pytest.raises(UsageError, match="local folder"):
        export_models(small, "gs://bucket/exports")


def test_warm_up_requests_are_answered(exports: Path):
    pytest.importorskip("tensorflow_serving", reason="needs requirements-serving.txt")
    from tensorflow_serving.apis import prediction_log_pb2

    model = load(exports, "classifier")
    path = exports / "classifier" / "1000" / "assets.extra" / "tf_serving_warmup_requests"
    names = set()
    for record in tf.data.TFRecordDataset(str(path)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        assert model.signatures[request.model_spec.signature_name](**inputs)["default"].shape == [1, 3]
        assert request.model_spec.name == "classifier"
        names.add(request.model_spec.signature_name)
    assert names == {"serving_default", "serving_bytes"}
