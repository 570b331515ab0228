"""SupCon against Eq. 2 in explicit loops, its special values, and what is counted as positive."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.methods.method_test import run_method_test
from tests.processes import finish, start
from tests.small_runs import write_images
from tf_simclr import data, inputs, pretrain
from tf_simclr.config import Config
from tf_simclr.data.records import StreamSource
from tf_simclr.errors import UsageError
from tf_simclr.methods.supcon import SupCon
from tf_simclr.objectives import nt_xent

WORKER = Path(__file__).with_name("contrast_worker.py")
LABELS = [2, 0, 2, -1, 1, -1, 0]
PAPERS = {"base_temperature": 1.0}


def plain(z: np.ndarray, labels: list[int], temperature: float) -> float:
    """Mean over the anchors of Eq. 2, times the temperature."""
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    images = len(labels)
    terms = []
    for i in range(2 * images):
        others = [a for a in range(2 * images) if a != i]
        label = labels[i % images]
        positives = [p for p in others if p % images == i % images or labels[p % images] == label >= 0]
        denominator = sum(np.exp(z[i] @ z[a] / temperature) for a in others)
        logs = [np.log(np.exp(z[i] @ z[p] / temperature) / denominator) for p in positives]
        terms.append(-sum(logs) / len(positives))
    return temperature * float(np.mean(terms))


def loss(method: SupCon, z: np.ndarray, labels: list[int]) -> tuple[float, float]:
    value, figures = method.loss(None, tf.constant(z), None, {"label": tf.constant(labels)})
    assert value == figures["contrastive_loss"]
    return float(value), float(figures["contrastive_accuracy"])


def random_z(images: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=[2 * images, 5])


@pytest.mark.slow
def test_it_stands_what_every_method_must(tmp_path: Path) -> None:
    run_method_test("supcon", tmp_path, temperature=0.2)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_it_is_eq_2(temperature: float) -> None:
    z = random_z(len(LABELS))
    found, _ = loss(SupCon(temperature, **PAPERS), z, LABELS)
    assert found == pytest.approx(plain(z, LABELS, temperature), rel=1e-12)


def test_the_authors_code_divides_by_a_temperature_of_its_own() -> None:
    z = random_z(len(LABELS))
    found, _ = loss(SupCon(0.1), z, LABELS)
    assert found == pytest.approx(plain(z, LABELS, 0.1) / 0.07, rel=1e-12)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4, 5, 6], [-1] * 7])
def test_with_no_two_images_of_a_class_it_is_half_of_nt_xent(labels: list[int]) -> None:
    z = random_z(7)
    found, accuracy = loss(SupCon(0.07), z, labels)
    assert found == pytest.approx(float(nt_xent(tf.constant(z), 0.07).loss) / 2, rel=1e-12)
    assert 0 <= accuracy < 1


def test_collapsed_it_is_the_logarithm_of_all_others() -> None:
    found, _ = loss(SupCon(0.07), np.ones([120, 3]), [i % 10 for i in range(60)])
    assert found == pytest.approx(np.log(119), rel=1e-12)


def test_orthogonal_classes_come_near_its_floor() -> None:
    """log(|P| + (2N - 1 - |P|) exp(-1 / tau)): above log |P|, which it never passes."""
    labels = [i % 10 for i in range(60)]
    found, accuracy = loss(SupCon(0.5, base_temperature=0.5), np.eye(10)[labels * 2], labels)
    assert found == pytest.approx(np.log(11 + 108 * np.exp(-2)), rel=1e-12)
    assert found > np.log(11)
    assert accuracy == 1.0


def test_its_gradient_is_eq_4() -> None:
    """(1 / tau) (sum over P of u_p (P_ip - 1 / |P|) + sum over N of u_n P_in), as anchor and as candidate."""
    images, tau = len(LABELS), 0.3
    u = random_z(images)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    z = tf.constant(u)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value, _ = SupCon(tau, base_temperature=tau).loss(None, z, None, {"label": tf.constant(LABELS)})
    classes = np.array([label if label >= 0 else -1 - i for i, label in enumerate(LABELS)] * 2)
    alone = 1 - np.eye(2 * images)
    positives = (classes[:, np.newaxis] == classes) * alone
    p = np.exp(u @ u.T / tau) * alone
    p /= p.sum(axis=1, keepdims=True)
    weights = (p - positives / positives.sum(axis=1, keepdims=True)) / tau / (2 * images)
    by_u = (weights + weights.T) @ u
    expected = by_u - np.sum(by_u * u, axis=1, keepdims=True) * u  # along the sphere
    np.testing.assert_allclose(tape.gradient(value, z), expected, rtol=1e-9, atol=1e-12)


def test_labels_change_the_gradient() -> None:
    z = tf.constant(random_z(4))
    gradients = []
    for labels in ([0, 0, 1, 1], [0, 1, 0, 1]):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value, _ = SupCon().loss(None, z, None, {"label": tf.constant(labels)})
        gradients.append(tape.gradient(value, z).numpy())
    assert np.max(np.abs(gradients[0] - gradients[1])) > 0.1


def test_images_without_any_label_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / "train").mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / "train" / f"{name}.png").write_bytes(
            tf.io.encode_png(tf.zeros([8, 8, 3], tf.uint8)).numpy()
        )
    config = Config("pretrain").replace(
        method="supcon", dataset=f"folder:{tmp_path / 'images'}", model_dir=str(tmp_path / "run")
    )
    with pytest.raises(UsageError, match="classes") as error:
        pretrain.pretrain(config)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_local_positives_break_parity() -> None:
    assert "local positives" in finish(start([str(WORKER), "supcon"]))


@pytest.mark.parametrize("dataset", ["digits", "cifar10"])
def test_a_fraction_of_the_labels_leaves_every_image(dataset: str, shared: Callable[[str], Path]) -> None:
    place = (
        {"data_dir": str(shared("data/tfds")), "train_split": "train[:2%]"} if dataset == "cifar10" else {}
    )
    config = Config("pretrain").replace(dataset=dataset, method="supcon", **place)
    whole = inputs.pretraining_source(config)
    part = inputs.pretraining_source(config.replace(labelled_fraction=0.1))
    again = inputs.pretraining_source(config.replace(labelled_fraction=0.1, learning_rate=0.1))
    assert part.num_examples == whole.num_examples
    kept = part.labels() >= 0
    assert kept.sum() == pytest.approx(0.1 * whole.num_examples, abs=1)
    assert np.ptp(np.bincount(part.labels()[kept])) <= 1, "not class-balanced"
    np.testing.assert_array_equal(part.labels()[kept], whole.labels()[kept])
    np.testing.assert_array_equal(part.labels(), again.labels())
    assert part.version != whole.version
    read = [int(record["label"]) for record in part.records()]
    np.testing.assert_array_equal(read, part.labels())


def test_images_without_a_label_are_welcome_if_some_have_one(tmp_path: Path) -> None:
    write_images(tmp_path, {"train": 2})
    picture = (tmp_path / "train" / "dark" / "0.png").read_bytes()
    (tmp_path / "train" / "unknown.png").write_bytes(picture)
    config = Config("pretrain").replace(dataset=f"folder:{tmp_path}", method="supcon", holdout=0.0)
    assert sorted(inputs.pretraining_source(config).labels()) == [-1, 0, 0, 1, 1]
    shutil.rmtree(tmp_path / "train" / "light")
    with pytest.raises(UsageError, match="has 1 classes"):
        inputs.pretraining_source(config)


def test_a_stream_without_labels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    records = {"image": ["a", "b"], "label": tf.constant([-1, -1], tf.int64), "id": ["0", "1"]}
    stream = tf.data.Dataset.from_tensor_slices(records)
    source = StreamSource("x", "test", "1", ["a", "b"], stream=stream, num_examples=2)
    monkeypatch.setattr(data, "open_source", lambda *_: source)
    with pytest.raises(UsageError, match="its images have no labels"):
        inputs.pretraining_source(Config("pretrain").replace(dataset="x", method="supcon"))
