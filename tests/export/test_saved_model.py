"""What an export computes, against the live model, and when it is written."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export import parts
from export.folders import versions
from export.parts import Models, float32_copy
from export.saved_model import export_models, export_run
from tests.data.pictures import encoded, picture
from tf_simclr import finetune
from tf_simclr.data.decoding import Decoding, decode_image
from tf_simclr.data.views import evaluation_view
from tf_simclr.errors import UsageError
from tf_simclr.evaluation.features import encoder_sha256
from tf_simclr.models import ProjectionHead, ResNet
from tf_simclr.runs.loading import load_run


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


@pytest.mark.parametrize("model", ["encoder", "classifier"])
def test_uint8_images_are_those_of_0_to_255(exports: Path, model: str):
    signatures = load(exports, model).signatures
    pixels = np.random.default_rng(0).integers(0, 256, [3, 40, 28, 3]).astype(np.uint8)
    found = signatures["serving_uint8"](images=tf.constant(pixels))
    expected = signatures["serving_default"](images=tf.constant(pixels / np.float32(255)))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        close(found[name], value)


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


@pytest.mark.parametrize("upright", [True, False])
def test_served_bytes_are_turned_as_the_run_turned_them(small: Models, tmp_path: Path, upright: bool):
    (folder,) = export_models(dataclasses.replace(small, upright=upright), str(tmp_path))
    served = tf.saved_model.load(str(folder)).signatures["serving_bytes"]
    files = [
        encoded(picture(20, 30), kind, orientation) for kind in ("JPEG", "PNG") for orientation in (1, 6, 7)
    ]
    views = [evaluation_view(decode_image(file, Decoding(upright=upright)), 4) for file in files]
    close(served(image_bytes=tf.constant(files))["default"], small.encoder(tf.stack(views)))
    other = evaluation_view(decode_image(files[1], Decoding(upright=not upright)), 4)
    assert np.max(np.abs(views[1] - other)) > 0.01
    said = "EXIF orientation is applied" if upright else "EXIF orientation is ignored"
    assert said in (folder / "README.md").read_text()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"image_bytes\[0\] cannot be decoded"):
        served(image_bytes=tf.constant([encoded(picture(5, 5), "TIFF")]))


def test_facts_and_model_card(exports: Path, models: Models):
    facts = json.loads((exports / "encoder" / "1000" / "export.json").read_text())
    expected = {"model": "encoder", "step": 1000, "image_size": 32, "git_commit": "0123abc", "top1": 87.5}
    expected |= {"representation_dim": 128, "projection_dim": 16, "config": dict(models.config)}
    expected |= {"center_crop_fraction": 0.0, "resize_first": False, "class_names": None}
    assert expected.items() <= facts.items()
    classifier = json.loads((exports / "classifier" / "1000" / "export.json").read_text())
    assert classifier["class_names"] == list(models.class_names)
    assert len(facts["weights_sha256"]) == 64
    assert facts["encoder_sha256"] == encoder_sha256(models.encoder)  # what evaluations print
    card = (exports / "classifier" / "1000" / "README.md").read_text()
    assert "digits" in card
    assert "87.50 %" in card
    assert facts["weights_sha256"] not in card  # the classifier's own


def test_fine_tuned_run_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("export.saved_model._verify", lambda folders: None)
    build = parts.build
    monkeypatch.setattr(parts, "build", lambda *args: {"classifier": build(*args)["classifier"]})  # for time
    flags = "--dataset=digits --image_size=8 --resnet_depth=18 --width_multiplier=0.0625 --ft_proj_selector=1"
    flags += f" --labels_per_class=2 --train_steps=2 --train_batch_size=10 --model_dir={tmp_path / 'run'}"
    assert finetune.main(flags.split()) == 0
    run = load_run(str(tmp_path / "run"))
    (folder,) = export_run(run, str(tmp_path / "exports"))
    facts = json.loads((folder / "export.json").read_text())
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert facts["step"] == 2
    assert facts["top1"] == result["top1"]
    assert facts["config"]["command"] == "finetune"
    assert (facts["representation_dim"], facts["projection_dim"], facts["num_classes"]) == (32, 128, 10)
    assert (folder / "assets" / "class_names.txt").read_text().split() == list("0123456789")
    with np.load(folder / "verification.npz") as stored:
        close(stored["inference_2"], run.logits(stored["inputs_2"]))


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


def test_copy_that_answers_otherwise_is_no_export(small: Models, tmp_path: Path):
    small.encoder.dense.activation = tf.nn.relu  # get_config knows nothing of it
    small.encoder.dense.bias.assign([-9.0] * 5)
    with pytest.raises(RuntimeError, match=r"one_layer.* answers otherwise .*get_config"):
        export_models(small, str(tmp_path))
    assert list(tmp_path.rglob("*")) == []


def test_head_that_does_nothing_has_the_width_of_h(small: Models, tmp_path: Path):
    head = ProjectionHead("none", out_dim=128)
    folders = export_models(dataclasses.replace(small, projection_head=head), str(tmp_path))
    for folder in folders:
        facts = json.loads((folder / "export.json").read_text())
        assert facts["projection_dim"] == facts["representation_dim"] == 5


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


def test_rename_that_fails_puts_the_old_back(small: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (folder,) = export_models(small, str(tmp_path))
    (folder / "mine.txt").touch()
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.name.startswith(".") and not path.name.endswith("-replaced"):
            raise OSError(28, "No space left on device")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(UsageError, match=r"encoder/1000: cannot be put there \(No space left on device\)"):
        export_models(small, str(tmp_path), overwrite=True)
    assert (folder / "mine.txt").exists()
    assert [child.name for child in folder.parent.iterdir()] == ["1000"]


def test_number_that_appears_after_the_check_is_left_alone(
    small: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with versions(str(tmp_path), 7, overwrite=False) as pending:
        pending.folder("encoder")
        (tmp_path / "encoder" / "7").mkdir()
        (tmp_path / "encoder" / "7" / "theirs.txt").touch()
        monkeypatch.setattr(pending, "refuse_existing", lambda models: None)
        with pytest.raises(UsageError, match="encoder/7: cannot be put there"):
            pending.publish()
    assert [path.name for path in (tmp_path / "encoder").rglob("*")] == ["7", "theirs.txt"]


KILLED = """
import os, signal, sys
from pathlib import Path
from unittest import mock

sys.path[:0] = sys.argv[1:3]
from conftest import OneLayer
from export.parts import Models
from export.saved_model import export_models

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def kill_at_the_second(path, target):
    return kill() if path.name.startswith(".") else rename(path, target)

rename, models = Path.rename, Models(encoder=OneLayer(), image_size=4, step=7)
if sys.argv[4] == "pathlib.Path.rename":
    with mock.patch("export.saved_model._verify"):
        export_models(models, sys.argv[3])
        with mock.patch("pathlib.Path.rename", kill_at_the_second):
            export_models(models, sys.argv[3], overwrite=True)
with mock.patch(sys.argv[4], kill):
    export_models(models, sys.argv[3])
"""


@pytest.mark.parametrize(
    ("where", "left"),
    [
        pytest.param("tensorflow.saved_model.save", [""], marks=pytest.mark.slow),
        pytest.param("export.saved_model._verify", [""], marks=pytest.mark.slow),
        ("pathlib.Path.rename", ["", "-replaced"]),
    ],
)
def test_killed_export_leaves_no_number(tmp_path: Path, where: str, left: list[str]):
    here = Path(__file__).resolve()
    command = [sys.executable, "-c", KILLED, str(here.parents[2]), str(here.parent), str(tmp_path), where]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    names = sorted(path.name for path in (tmp_path / "encoder").iterdir())
    assert [re.sub(r"^\.7-[0-9a-f]{8}", "", name) for name in names] == left  # no integer to Serving
    if "-replaced" in left:
        assert (tmp_path / "encoder" / names[1] / "verification.npz").exists()
    with versions(str(tmp_path), 8, overwrite=False):
        assert {path.name for path in (tmp_path / "encoder").iterdir()} == (
            {"7"} if "-replaced" in left else set()
        )


def test_what_a_living_export_writes_is_left_alone(tmp_path: Path):
    with versions(str(tmp_path), 7, overwrite=False) as living:
        hidden = living.folder("encoder")
        with versions(str(tmp_path), 8, overwrite=False):
            assert hidden.exists()


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
    assert names == {"serving_default", "serving_uint8", "serving_bytes"}
