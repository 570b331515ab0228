"""The solution minimises the documented objective, and the protocol is App. B.8's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from sklearn.linear_model import LogisticRegression

from tf_simclr.errors import UsageError
from tf_simclr.evaluation import logistic_regression as lr
from tf_simclr.evaluation.metrics import score


def blobs(seed: int, per_class: int, num_classes: int = 3, dim: int = 5) -> lr.LabelledFeatures:
    centres = np.random.default_rng(99).normal(size=(num_classes, dim))
    labels = np.repeat(np.arange(num_classes), per_class)
    noise = np.random.default_rng(seed).normal(size=(len(labels), dim))
    return lr.LabelledFeatures((centres[labels] + noise).astype(np.float32), labels)


def documented_objective(parameters: np.ndarray, data: lr.LabelledFeatures, l2: float) -> float:
    """Sum of cross-entropies + l2 * ||W||^2, written out; the bias is free."""
    weights = parameters.reshape(data.values.shape[1] + 1, -1)
    logits = data.values.astype(float) @ weights[1:] + weights[0]
    log_normaliser = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    return np.sum(log_normaliser - logits[np.arange(len(logits)), data.labels]) + l2 * np.sum(
        weights[1:] ** 2
    )


def probabilities_by_scipy(data: lr.LabelledFeatures, l2: float, num_classes: int) -> np.ndarray:
    start = np.zeros(6 * num_classes)
    best = scipy.optimize.minimize(documented_objective, start, args=(data, l2), tol=1e-9).x
    weights = best.reshape(6, num_classes)
    logits = data.values @ weights[1:] + weights[0]
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("l2", [1e-1, 3.0, 100.0])
def test_minimises_the_documented_objective(l2, num_classes):
    data = blobs(0, 20, num_classes)
    model = lr.SoftmaxRegression(num_classes)
    assert model.fit(data, l2)
    expected = probabilities_by_scipy(data, l2, num_classes)
    np.testing.assert_allclose(model.scores(data.values), expected, atol=3e-4)


@pytest.mark.parametrize("l2", [1e-2, 1.0, 1e3])
def test_a_warm_start_ends_at_the_same_minimum(l2):
    data = blobs(0, 40)
    model = lr.SoftmaxRegression(3)
    model.fit(data, 50.0)  # a start far away
    model.fit(data, l2)
    np.testing.assert_allclose(model.scores(data.values), probabilities_by_scipy(data, l2, 3), atol=2e-3)


@pytest.mark.parametrize("l2", lr.L2_VALUES[::8])
def test_equals_scikit_learn_on_the_mean_cross_entropy(l2):
    """C scales with the number of examples: the mean over n with l2 / n is our sum with l2."""
    data = blobs(0, 40)
    ours = lr.SoftmaxRegression(3)
    ours.fit(data, l2)
    weights = np.full(len(data.labels), 1 / len(data.labels))  # these make scikit-learn's sum a mean
    reference = LogisticRegression(C=len(data.labels) / (2 * l2), tol=1e-10, max_iter=10_000)
    reference.fit(data.values.astype(float), data.labels, sample_weight=weights)
    np.testing.assert_allclose(
        ours.scores(data.values), reference.predict_proba(data.values.astype(float)), atol=2e-3
    )


def test_protocol_equals_its_plain_transcription():
    train, validation, test = blobs(1, 15), blobs(2, 40), blobs(3, 40)
    result = lr.transfer(train, validation, test, metric="top1", l2_values=[0.01, 1.0, 10.0, 1000.0])

    def fitted(data, l2):
        model = LogisticRegression(C=1 / (2 * l2), tol=1e-6, max_iter=5000)
        return model.fit(data.values.astype(float), data.labels)

    accuracies = {
        l2: 100 * fitted(train, l2).score(validation.values, validation.labels)
        for l2 in [1000.0, 10.0, 1.0, 0.01]
    }
    assert {point.l2: point.validation for point in result.path} == pytest.approx(accuracies)
    assert result.l2 == max(accuracies, key=accuracies.get)
    both = lr.LabelledFeatures(*(np.concatenate(pair) for pair in zip(train, validation, strict=True)))
    retrained = fitted(both, result.l2)
    np.testing.assert_allclose(result.scores, retrained.predict_proba(test.values.astype(float)), atol=1e-3)
    assert result.test == pytest.approx(100 * retrained.score(test.values, test.labels))


def test_path_has_the_papers_45_values_strongest_first():
    seen: list[lr.PathPoint] = []
    result = lr.transfer(blobs(1, 8), blobs(2, 8), blobs(3, 8), metric="top1", on_progress=seen.append)
    assert seen == result.path
    l2 = np.array([point.l2 for point in result.path])
    assert (len(l2), l2[0], l2[-1]) == (45, pytest.approx(1e5), pytest.approx(1e-6))
    np.testing.assert_allclose(np.diff(np.log10(l2)), -0.25)
    assert all(point.converged for point in result.path)


def test_whatever_did_not_converge_marks_the_result(monkeypatch):
    parts = blobs(1, 8), blobs(2, 8), blobs(3, 8)
    assert lr.transfer(*parts, metric="top1", l2_values=[0.1, 1.0]).converged
    real = lr.LogisticRegression.fit

    def gives_up_when_retrained(model, values, labels):
        model.set_params(max_iter=1 if len(labels) == 48 else lr.MAX_ITERATIONS)
        return real(model, values, labels)

    monkeypatch.setattr(lr.LogisticRegression, "fit", gives_up_when_retrained)
    result = lr.transfer(*parts, metric="top1", l2_values=[0.1, 1.0])
    assert all(point.converged for point in result.path)
    assert not result.converged


def test_test_data_do_not_choose_l2():
    train, validation = blobs(1, 10), blobs(2, 20)
    first = lr.transfer(train, validation, blobs(3, 20), metric="top1")
    other = lr.transfer(train, validation, blobs(4, 5), metric="top1")
    assert first.path == other.path
    assert first.l2 == other.l2


def test_warm_start_takes_fewer_iterations():
    data = blobs(1, 50, dim=30)
    l2_values = [10.0, 5.0, 2.5]

    def iterations(model):
        return int(model._model.n_iter_.max())

    warm = lr.SoftmaxRegression(3)
    warm_total = cold_total = 0
    for l2 in l2_values:
        warm.fit(data, l2)
        warm_total += iterations(warm)
        cold = lr.SoftmaxRegression(3)
        cold.fit(data, l2)
        cold_total += iterations(cold)
    assert warm_total < cold_total


def multi_label(seed: int, n: int) -> lr.LabelledFeatures:
    values = np.random.default_rng(seed).normal(size=(n, 4))
    labels = (values[:, :3] + 0.5 * np.random.default_rng(seed + 1).normal(size=(n, 3)) > 0).astype(int)
    return lr.LabelledFeatures(values.astype(np.float32), labels)


def test_multi_label_is_one_regression_a_class_without_ignored_labels():
    train, test = multi_label(0, 60), multi_label(5, 30)
    train.labels[:10, 1] = -1
    model = lr.OneVsRestRegression(3)
    assert model.fit(train, 0.5)
    scores = model.scores(test.values)
    for c, skipped in enumerate([0, 10, 0]):
        reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000)
        reference.fit(train.values[skipped:].astype(float), train.labels[skipped:, c])
        np.testing.assert_allclose(scores[:, c], reference.decision_function(test.values), atol=1e-2)


def test_multi_label_protocol_reports_map():
    result = lr.transfer(
        multi_label(0, 60),
        multi_label(10, 60),
        multi_label(20, 60),
        metric="voc_map",
        l2_values=[0.01, 1, 100],
    )
    assert result.test == score("voc_map", result.scores, multi_label(20, 60).labels)
    assert result.test > 85


def test_class_gaps_keep_their_columns():
    data = blobs(0, 10)
    gapped = lr.LabelledFeatures(data.values, data.labels * 2)
    model = lr.SoftmaxRegression(5)
    model.fit(gapped, 1.0)
    scores = model.scores(data.values)
    assert scores.shape == (30, 5)
    assert (scores[:, [1, 3]] == 0).all()


@pytest.mark.parametrize(
    ("labels", "message"), [([0, 0, 1, 1], "class 2 has no training"), ([2, 2, 2, 2], "class 0 has no")]
)
def test_class_without_training_example_is_refused(labels, message):
    train = lr.LabelledFeatures(np.zeros((4, 5), np.float32), np.array(labels))
    with pytest.raises(UsageError, match=message):
        lr.transfer(train, blobs(0, 2), blobs(1, 2), metric="top1")


def test_one_class_is_refused():
    data = lr.LabelledFeatures(np.zeros((4, 5), np.float32), np.zeros(4, int))
    with pytest.raises(UsageError, match="2 classes"):
        lr.transfer(data, data, data, metric="top1")


def test_multi_label_class_that_never_occurs_is_refused():
    train = multi_label(0, 20)
    train.labels[:, 2] = 0
    with pytest.raises(UsageError, match="class 2"):
        lr.transfer(train, train, train, metric="voc_map")
