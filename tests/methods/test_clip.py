"""CLIP: which text an image gets, the scale that learns, resuming, replicas, and what the run keeps."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.methods.method_test import run_method_test
from tests.small_runs import TINY
from tf_simclr import pretrain
from tf_simclr.checks import parity
from tf_simclr.config import Config
from tf_simclr.data import open_source
from tf_simclr.errors import UsageError
from tf_simclr.methods.clip import CLIP
from tf_simclr.models import Pretraining, ProjectionHead
from tf_simclr.networks.text_encoder import MOST, LogitScale, TextEncoder, Tokenizer

SMALL: dict[str, Any] = {"text_width": 8, "text_layers": 1, "text_heads": 2, "text_length": 9}
TEMPLATES = "a photo of a {}.|the digit {}|{}"


@pytest.mark.slow
def test_it_stands_what_every_method_must(tmp_path: Path) -> None:
    run_method_test("clip", tmp_path, **SMALL, caption_templates=TEMPLATES, proj_out_dim=8)


@pytest.fixture(scope="module")
def method() -> CLIP:
    return CLIP(**SMALL, caption_templates=TEMPLATES)


@pytest.fixture(scope="module")
def model(method: CLIP) -> Pretraining:
    tf.keras.utils.set_random_seed(0)
    made = Pretraining(
        method,
        parity.small_encoder(),
        ProjectionHead("linear", out_dim=4),
        captions=parity.captions_of(method),
    )
    made.compile(optimizer=tf.keras.optimizers.SGD(0.1))
    return made


def drawn(model: Pretraining, index: tf.Tensor, step: int) -> np.ndarray:
    model.optimizer.iterations.assign(step)
    return model.method._drawn(model, index).numpy()


def test_every_template_is_drawn_and_a_step_always_draws_the_same(model: Pretraining) -> None:
    index = tf.range(48, dtype=tf.int64)
    labels = open_source("digits", "train[:48]").labels()
    steps = [drawn(model, index, step) for step in range(20)]
    assert {(text - 3 * label) for step in steps for text, label in zip(step, labels, strict=True)} == {
        0,
        1,
        2,
    }
    assert np.any(steps[0] != steps[1])
    np.testing.assert_array_equal(steps[3], drawn(model, index, 3))


@pytest.mark.parametrize(("rate", "bound"), [(1e4, 0.0), (-1e4, MOST)])
def test_the_scale_starts_at_a_temperature_of_007_and_stays_within_its_bounds(
    rate: float, bound: float
) -> None:
    scale = LogitScale()
    assert float(scale(tf.zeros([1]))) == pytest.approx(1 / 0.07, rel=1e-6)
    optimizer = tf.keras.optimizers.SGD(abs(rate))
    with tf.GradientTape() as tape:
        value = math.copysign(1, rate) * scale(tf.zeros([1]))
    optimizer.minimize(value, [scale.t], tape)
    assert float(scale.t) == pytest.approx(bound)


def test_vectors_and_the_scale_do_not_decay(model: Pretraining) -> None:
    from tf_simclr.models.losses import kernels

    decayed = {id(variable) for part in model.method.trained(model) for variable in kernels(part)}
    free = [v for v in model.trainable_variables if id(v) not in decayed]
    assert {v.shape.rank for v in free} == {0, 1}
    assert all(v.shape.rank > 1 for v in model.trainable_variables if id(v) in decayed)


def test_what_follows_the_end_token_changes_nothing() -> None:
    tokenizer = Tokenizer(["red", "three"], 6)
    tokens = tokenizer(tf.constant(["a red, THREE!", "three", ""])).numpy()
    end = tokenizer.num_tokens - 1
    assert tokens.tolist() == [[1, 2, 3, end, 0, 0], [3, end, 0, 0, 0, 0], [end, 0, 0, 0, 0, 0]]
    encoder = TextEncoder(tokenizer.num_tokens, 6, width=8, num_layers=2, num_heads=2, out_dim=3)
    whole = encoder(tf.constant(tokens)).numpy()
    np.testing.assert_allclose(encoder(tf.constant(tokens[:, :4])), whole, atol=1e-6)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3
    other = tokens.copy()
    other[0, 0] = 3
    assert np.abs(encoder(tf.constant(other)).numpy()[0] - whole[0]).max() > 1e-4, "reads the end token alone"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_heads": 3}, "--text_heads=3: must divide"),
        ({"caption_templates": ""}, "--caption_templates=: give texts"),
        ({"captions": "/no/such.csv"}, "--captions=/no/such.csv goes with --dataset=folder:PATH"),
        ({"caption_templates": "a photo"}, "--caption_templates=a photo: give texts with {}"),
    ],
)
def test_bad_options_are_one_line_and_leave_no_folder(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    base = {**TINY, **SMALL, "method": "clip", "model_dir": str(tmp_path / "run")}
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        pretrain.pretrain(Config("pretrain").replace(**{**base, **options}))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
