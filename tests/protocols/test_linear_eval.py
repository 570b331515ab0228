"""Linear evaluation: its optimizer, the layers it reads, and features that are computed once."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.small_runs import Make, folder_of, never, result_of
from tf_simclr import evaluate, inputs, linear_eval, runs
from tf_simclr.errors import UsageError
from tf_simclr.evaluation.features import Features
from tf_simclr.optimizers import LARS
from tf_simclr.protocols import on_features
from tf_simclr.runs import build


def test_linear_eval_by_lars(evaluating: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, optimizers = build.compiled, []

    def recorded(model: Any, *arguments: Any) -> Any:
        compiled(model, *arguments)
        optimizers.append(model.optimizer)
        return model

    monkeypatch.setattr(build, "compiled", recorded)
    config = evaluating("linear_eval", optimizer="lars", learning_rate=0.3, zero_init_logits_layer=True)
    linear_eval.linear_eval(config)
    result = result_of(config)
    assert result["encoder_sha256_before"] == result["encoder_sha256_after"]
    assert [type(optimizer) for optimizer in optimizers] == [LARS]
    assert np.any(runs.load_run(config.run.model_dir).classifier.dense.kernel.numpy())


def test_linear_eval_on_a_head_layer_classifies_that_layer(evaluating: Make) -> None:
    config = evaluating("linear_eval", ft_proj_selector=2)
    linear_eval.linear_eval(config)
    run = runs.load_run(config.run.model_dir)
    assert run.classifier.dense.kernel.shape[0] == 8  # z's width
    with np.load(folder_of(config) / "predictions.npz") as stored:
        assert result_of(config)["top1"] == 100 * np.mean(stored["prediction"] == stored["label"])


def test_a_head_layer_that_is_not_there_is_a_mistake(evaluating: Make) -> None:
    with pytest.raises(UsageError, match="--ft_proj_selector=3: the projection head has 2 layers"):
        linear_eval.linear_eval(evaluating("linear_eval", ft_proj_selector=3))


@pytest.mark.parametrize("layer", [0, 1])
def test_without_augmentation_features_are_computed_once_and_kept(
    evaluating: Make, monkeypatch: pytest.MonkeyPatch, layer: int
) -> None:
    config = evaluating("linear_eval", augment=False, train_steps=60, ft_proj_selector=layer)
    linear_eval.linear_eval(config)
    assert len(list((folder_of(config) / "features").glob("features_*.npz"))) == 1
    first = result_of(config)
    assert first["encoder_sha256_before"] == first["encoder_sha256_after"]

    monkeypatch.setattr("tf_simclr.protocols.on_features.labelled", SimpleNamespace(features=never))
    for path in folder_of(config).iterdir():
        if path.name != "features":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    linear_eval.linear_eval(config)
    assert result_of(config)["top1"] == first["top1"]
    evaluation = evaluating("evaluate", checkpoint=config.run.model_dir)
    evaluate.evaluate(evaluation)
    assert result_of(evaluation)["top1"] == first["top1"]


def test_cached_features_train_as_the_images_would(evaluating: Make) -> None:
    """With every image kept whole, both ways see the same numbers in the same order."""
    config = evaluating("linear_eval", augment=False)
    source = inputs.train_source(config, labelled=True)
    labels = source.labels()
    batches = on_features.batches(
        Features(np.eye(len(labels), dtype=np.float32), labels, np.array([])), 100, seed=0
    )
    images = inputs.training_batches(config.replace(train_batch_size=100), source)
    for step in (0, 20):  # the second starts in the second epoch
        ours, theirs = next(iter(batches(step))), next(iter(images(step)))
        np.testing.assert_array_equal(ours["label"], theirs["label"])
        np.testing.assert_array_equal(labels[np.argmax(ours["image"], axis=1)], ours["label"])
