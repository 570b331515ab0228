"""Texts to tokens, which are words, and these to an embedding: CLIP's Transformer (2021, Sec. 2.4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.errors import UsageError

Normal = tf.keras.initializers.RandomNormal
START, MOST = math.log(1 / 0.07), math.log(100.0)


class Tokenizer:
    """Strings [n] to int64 [n, length]: lower-case words, the end token, zeros.

    Args:
        vocabulary: the words; others are one token together.
        length: of a row, the end token included; longer texts are cut.
    """

    def __init__(self, vocabulary: Sequence[str], length: int) -> None:
        self.vocabulary = list(vocabulary)
        self.words = tf.keras.layers.TextVectorization(
            vocabulary=self.vocabulary, output_sequence_length=length - 1
        )

    @classmethod
    def learned(cls, texts: Sequence[str], most: int, length: int) -> Tokenizer:
        """Of the words of `texts`, of which the `most` frequent are kept; UsageError where there is none."""
        words = tf.keras.layers.TextVectorization(max_tokens=most + 2)  # and nothing, and what is not known
        words.adapt(tf.constant(list(texts)))
        known = words.get_vocabulary(include_special_tokens=False)
        if not known:
            raise UsageError("--captions: there is no word in them, only punctuation")
        return cls(known, length)

    @property
    def num_tokens(self) -> int:
        """Of all ids: nothing, what is not known, the words, the end."""
        return len(self.vocabulary) + 3

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        tokens = tf.pad(self.words(texts), [[0, 0], [0, 1]])
        ends = tf.math.count_nonzero(tokens, axis=1)
        return tokens + tf.one_hot(ends, tf.shape(tokens)[1], self.num_tokens - 1, 0, dtype=tf.int64)


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class TextEncoder(tf.keras.layers.Layer):
    """Tokens [n, L] of a `Tokenizer` to [n, out_dim]: the last layer's output at the end token, projected.

    Causal, so that what follows the end changes nothing.

    Args:
        num_tokens: ids there are.
        length: most tokens of a row.
        width: of every layer.
        num_layers, num_heads: of the Transformer.
        out_dim: of the space that images share.
    """

    def __init__(
        self,
        num_tokens: int,
        length: int,
        width: int,
        num_layers: int,
        num_heads: int,
        out_dim: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._settings = {
            "num_tokens": num_tokens,
            "length": length,
            "width": width,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "out_dim": out_dim,
        }
        self.blocks = [_Block(width, num_heads, name=f"block{i}") for i in range(num_layers)]
        self.norm = tf.keras.layers.LayerNormalization(epsilon=1e-5, name="norm")
        self.projection = tf.keras.layers.Dense(out_dim, use_bias=False, name="projection")

    def build(self, input_shape: tf.TensorShape) -> None:
        width = self._settings["width"]
        self.words = self.add_weight("words", [self._settings["num_tokens"], width], initializer=Normal(0.02))
        self.positions = self.add_weight(
            "positions", [self._settings["length"], width], initializer=Normal(0.01)
        )
        super().build(input_shape)

    def call(self, tokens: tf.Tensor, training: bool = False) -> tf.Tensor:
        tokens = tf.cast(tokens, tf.int32)
        x = tf.gather(_dense(self.words), tokens) + self.positions[: tf.shape(tokens)[1]]
        for block in self.blocks:
            x = block(x)
        ends = tf.argmax(tokens, axis=1)  # whose id is the largest (authors' code)
        return self.projection(self.norm(tf.gather(x, ends, batch_dims=1)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._settings}


class _Block(tf.keras.layers.Layer):
    """Attention to what came before, then two dense layers, each normalised first and added."""

    def __init__(self, width: int, num_heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        layers = tf.keras.layers
        self.attention_norm = layers.LayerNormalization(epsilon=1e-5, name="attention_norm")
        self.attention = layers.MultiHeadAttention(num_heads, width // num_heads, name="attention")
        self.dense_norm = layers.LayerNormalization(epsilon=1e-5, name="dense_norm")
        self.hidden = layers.Dense(4 * width, "gelu", name="hidden")
        self.dense = layers.Dense(width, name="dense")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        normed = self.attention_norm(x)
        x += self.attention(normed, normed, use_causal_mask=True)
        return x + self.dense(self.hidden(self.dense_norm(x)))


@tf.keras.utils.register_keras_serializable(package="tf_simclr")
class LogitScale(tf.keras.layers.Layer):
    """s = exp(t), a scalar by which cosines are multiplied; t stays within [0, ln 100] (authors' code)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": tf.keras.backend.floatx(), **kwargs})  # in mixed precision, too

    def build(self, input_shape: Any) -> None:
        self.t = self.add_weight(
            "t",
            [],
            initializer=tf.keras.initializers.Constant(START),
            constraint=_clamped,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,  # the constraint assigns on every replica
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """s, whatever the inputs."""
        return tf.exp(self.t)


def _clamped(t: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(t, 0.0, MOST)


def _dense(table: tf.Variable) -> tf.Tensor:
    """The table as a product, whose gradient is a tensor: optimizers here take its norm."""
    return 1.0 * tf.convert_to_tensor(table)
