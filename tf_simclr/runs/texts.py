"""The text encoder of a run by CLIP, or a method made of it, and its words: vocabulary.txt in the folder."""

from __future__ import annotations

from typing import NamedTuple, cast

import tensorflow as tf

from tf_simclr import methods
from tf_simclr.config import stored
from tf_simclr.config.stored import run_of
from tf_simclr.errors import UsageError
from tf_simclr.methods.clip import CLIP, Tokens
from tf_simclr.networks.text_encoder import LogitScale, TextEncoder, Tokenizer
from tf_simclr.runs import checkpoints
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.prefixes import variable_shapes

NAME = "vocabulary.txt"


class Texts(NamedTuple):
    """What makes embeddings [n, P] of strings [n], and the scale of their cosines."""

    tokenizer: Tokenizer
    encoder: TextEncoder
    scale: LogitScale

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        return self.encoder(self.tokenizer(texts))


def keep_vocabulary(run: RunFolder, captions: Tokens | None) -> None:
    """Writes vocabulary.txt, a word a line, in the order of their tokens; nothing without captions.

    Raises:
        UsageError: training began with captions of other words.
    """
    if captions is None:
        return
    words = "".join(f"{word}\n" for word in captions.tokenizer.vocabulary)
    path = run.path / NAME
    if run.checkpoints.exists() and path.exists() and path.read_text() != words:
        raise UsageError(
            f"--model_dir={run.path}: the captions have other words than when the run began ({NAME}); give "
            "another --model_dir"
        )
    run.write(NAME, words)


def load(checkpoint: str, prefix: str) -> Texts | None:
    """The texts' side of a run; None where it keeps no words, as a run of another method.

    Raises:
        UsageError: the checkpoint cannot be read.
    """
    path = run_of(checkpoint) / NAME
    own = dict(stored.read_tree(path.parent).get("method", {}))
    if not path.exists() or "name" not in own:
        return None
    method, words = cast(CLIP, methods.find(own.pop("name"))(**own)), path.read_text().split("\n")[:-1]
    tokenizer = Tokenizer(words, method.text_length)
    out_dim = variable_shapes(prefix)["state/text_encoder/projection/kernel"][1]
    encoder = method.text_encoder(tokenizer.num_tokens, out_dim)
    scale = LogitScale()
    scale(tf.zeros([1]))
    checkpoints.fill(prefix, state=tf.train.Checkpoint(text_encoder=encoder, logit_scale=scale))
    return Texts(tokenizer, encoder, scale)
