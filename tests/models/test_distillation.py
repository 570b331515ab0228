"""Distillation: its loss by plain NumPy, its gradient, and that the teacher stays out of the student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.processes import finish, start
from tf_simclr.checks import parity
from tf_simclr.models import Classifier, Distillation
from tf_simclr.models.distillation import soft_cross_entropy

WORKER = Path(__file__).with_name("distillation_worker.py")


def softmax(logits: np.ndarray) -> np.ndarray:
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=[6, 5])


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
def test_the_loss_and_its_gradient_are_those_of_eq_2(temperature: float) -> None:
    teacher, student = drawn(0), drawn(1)
    expected = []
    for t, s in zip(softmax(teacher / temperature), softmax(student / temperature), strict=True):
        expected.append(-sum(t[y] * np.log(s[y]) for y in range(len(t))))
    logits = tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = soft_cross_entropy(logits, tf.constant(teacher), temperature)
        total = tf.reduce_sum(losses)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    apart = softmax(student / temperature) - softmax(teacher / temperature)
    np.testing.assert_allclose(tape.gradient(total, logits), apart / temperature, atol=1e-12)


def test_a_student_equal_to_its_teacher_has_the_entropy_left_and_no_gradient() -> None:
    logits = tf.constant(drawn(2))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = soft_cross_entropy(logits, tf.stop_gradient(logits), 0.1)
    shares = softmax(logits.numpy() / 0.1)
    np.testing.assert_allclose(losses, -(shares * np.log(shares)).sum(axis=1), rtol=1e-9)
    np.testing.assert_allclose(tape.gradient(losses, logits), np.zeros([6, 5]), atol=1e-12)


def test_a_uniform_student_has_log_c() -> None:
    losses = soft_cross_entropy(tf.zeros([6, 5], tf.float64), tf.constant(drawn(3)), 0.1)
    np.testing.assert_allclose(losses, np.full(6, np.log(5)), rtol=1e-12)


def models(label_weight: float = 0.0) -> tuple[Classifier, Distillation]:
    teacher = Classifier(parity.small_encoder(), 5)
    teacher.compile()
    student = Distillation(
        parity.small_encoder(), 5, teacher=teacher, temperature=0.5, label_weight=label_weight
    )
    student.compile(optimizer=tf.keras.optimizers.SGD(0.0))
    return teacher, student


def test_the_teacher_is_no_part_of_the_student(tmp_path: Path) -> None:
    teacher, student = models()
    before = [variable.numpy() for variable in teacher.variables]
    batch = {"image": tf.random.stateless_uniform([8, 8, 8, 3], [1, 2]), "label": tf.fill([8], -1)}
    student.compile(optimizer=tf.keras.optimizers.SGD(0.5))
    student.fit(tf.data.Dataset.from_tensors(batch).repeat(3), verbose=0)
    for variable, value in zip(teacher.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    own = {id(variable) for variable in student.variables}
    assert own.isdisjoint(id(variable) for variable in teacher.variables)
    path = tf.train.Checkpoint(model=student).write(str(tmp_path / "student"))
    kept = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    assert not [name for name in kept if "teach" in name]
    assert len([name for name in kept if "encoder" in name and "OPTIMIZER" not in name]) == len(
        student.encoder.variables
    )


def test_labels_weigh_what_they_are_given_and_only_where_there_are_some() -> None:
    images = tf.random.stateless_uniform([4, 8, 8, 3], [3, 4])
    labels = tf.constant([2, -1, 0, -1])
    teacher, student = models(label_weight=0.25)
    logits, targets = student(images), student.targets(images)
    np.testing.assert_array_equal(targets, teacher(images))  # in inference mode
    found = student.objective(logits, labels, targets)
    chances = softmax(logits.numpy())
    by_labels = -np.mean([np.log(chances[0, 2]), np.log(chances[2, 0])])
    by_teacher = np.mean(soft_cross_entropy(logits, targets, 0.5))
    np.testing.assert_allclose(found, 0.25 * by_labels + 0.75 * by_teacher, rtol=1e-5)
    figures = student.test_step({"image": images, "label": labels})
    assert set(figures) == {"loss", "agreement", "label_loss", "accuracy"}
    np.testing.assert_allclose([figures["loss"], figures["label_loss"]], [by_teacher, by_labels], rtol=1e-5)
    assert set(models()[1].test_step({"image": images, "label": labels})) == {"loss", "agreement"}


@pytest.mark.slow
def test_two_replicas_distil_as_one() -> None:
    assert "weights, statistics and figures agree" in finish(start([str(WORKER)]))
