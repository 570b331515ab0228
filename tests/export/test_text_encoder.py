"""The exported text encoder takes strings; it stands every check of an export but that of a fresh process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export import parts, saved_model, verify
from export.parts import Models
from tests.export.conftest import randomize
from tf_simclr.networks.text_encoder import LogitScale, TextEncoder, Tokenizer
from tf_simclr.runs.texts import Texts

WORDS = ["a", "red", "three", "über"]


@pytest.fixture(scope="module")
def texts() -> Texts:
    tokenizer = Tokenizer(WORDS, 8)
    encoder = TextEncoder(tokenizer.num_tokens, 8, width=8, num_layers=2, num_heads=2, out_dim=16)
    encoder(tokenizer(tf.constant(WORDS)))
    randomize(encoder)
    return Texts(tokenizer, encoder, LogitScale())


@pytest.fixture(scope="module")
def folder(texts: Texts, models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text_encoder")
    saved_model._write(parts._text_encoder(texts), "text_encoder", models, lambda image: image, path)
    return path


def test_it_answers_strings_as_the_live_model_does(texts: Texts, folder: Path) -> None:
    strings = tf.constant(["a red three", "über THREE!", "", "never heard of"])
    loaded = tf.saved_model.load(str(folder))
    live = texts(strings).numpy()
    np.testing.assert_allclose(loaded(strings).numpy(), live, atol=1e-5 * np.abs(live).max())
    served = loaded.signatures["serving_default"](texts=strings)["default"].numpy()
    np.testing.assert_allclose(served, live, atol=1e-5 * np.abs(live).max())
    assert loaded(tf.constant([], tf.string)).shape == (0, 16)


def test_it_stands_the_checks_of_an_export(folder: Path) -> None:
    export = verify.load(folder)
    for name, check in verify.CHECKS:
        if name != "independence":
            assert check(export)


def test_its_card_says_what_it_takes(folder: Path) -> None:
    assert "text encoder: strings [b], UTF-8, to embeddings" in (folder / "README.md").read_text()
