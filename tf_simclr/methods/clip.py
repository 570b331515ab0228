"""CLIP (Radford et al., 2021): an image is compared with its caption, against all captions of the batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from etils import epy

from tf_simclr.errors import UsageError
from tf_simclr.methods.method import Method, Rows, Sizes
from tf_simclr.options import DEEPEST, WIDEST, option

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

    from tf_simclr.data import captions as captions_lib
    from tf_simclr.networks import text_encoder
    from tf_simclr.objectives import image_text
    from tf_simclr.replicas import gather, traffic

_FLOAT = 4  # bytes
_MATRICES = 8  # n rows of the N x N similarities: both ways, logits, targets, softmax and gradient (reckoned)


class Tokens(NamedTuple):
    """`Captions` as numbers, and the tokenizer that made them.

    Attributes:
        tokenizer: of the words of all texts.
        tokens: int64 [T, L].
        meanings: int64 [T].
        rows: int64 [M].
        starts, counts: int64 [N]: image i has the texts rows[starts[i] : starts[i] + counts[i]].
    """

    tokenizer: text_encoder.Tokenizer
    tokens: tf.Tensor
    meanings: tf.Tensor
    rows: tf.Tensor
    starts: tf.Tensor
    counts: tf.Tensor


@dataclasses.dataclass(frozen=True)
class CLIP(Method):
    """Encoders of images and of texts learn one space, in which a picture is near what is said of it."""

    citation: ClassVar[str] = (
        "Radford, Kim, Hallacy, Ramesh, Goh, et al. Learning Transferable Visual Models From Natural "
        "Language Supervision. ICML 2021, arXiv:2103.00020."
    )
    num_views: ClassVar[int] = 1
    figures: ClassVar[tuple[str, ...]] = ("contrastive_loss", "contrastive_accuracy", "logit_scale")
    defaults: ClassVar[Mapping[str, Any]] = {
        "proj_head_mode": "linear",  # Sec. 2.3
        "proj_batch_norm": "none",
        "proj_out_dim": 1024,  # Table 20, of the ResNet-50
        "crop_area_min": 0.9,  # open_clip; "a random square crop" is all there is (Sec. 2.3)
        "use_flip": False,
        "use_blur": False,
        "color_jitter_strength": 0.0,
        "optimizer": "adam",  # Sec. 2.5
    }
    needs_index: ClassVar[bool] = True
    needs_captions: ClassVar[bool] = True

    captions: str = option("", "CSV of file,caption for a folder data set; empty: names of the classes")
    caption_templates: str = option(
        "a photo of a {}.",
        "what is said of a class {}, between | where several are: one is drawn for each image and step",
        form=(r"[^|]*\{\}[^|]*(\|[^|]*\{\}[^|]*)*", "texts with {} for the class, between |"),
    )
    text_width: int = option(512, "width of the text encoder", minimum=1, maximum=WIDEST)
    text_layers: int = option(12, "layers of the text encoder", minimum=1, maximum=DEEPEST)
    text_heads: int = option(8, "attention heads of a layer", minimum=1, maximum=1024)
    text_length: int = option(77, "most words of a text, its end included", minimum=2, maximum=4096)
    text_vocabulary: int = option(49_405, "most words that are known, by frequency", minimum=1)

    def check(self, own_images: int, replicas: int = 1) -> None:
        if self.text_width % self.text_heads:
            raise UsageError(
                f"--text_heads={self.text_heads}: must divide the --text_width of {self.text_width}"
            )
        if not self.captions and not self.caption_templates:
            raise UsageError("--caption_templates=: give texts with {} for the class, or --captions=FILE.csv")

    def read_captions(self, source: Any) -> Tokens:
        self.check(1)  # what contradicts itself is said first
        if self.captions:
            found = captions_lib.of_csv(self.captions, source)
        else:
            found = captions_lib.of_classes(source, self.caption_templates)
        tokenizer = text_encoder.Tokenizer.learned(found.texts, self.text_vocabulary, self.text_length)
        with tf.device("CPU:0"):
            tokens = tokenizer(tf.constant(found.texts)).numpy()
            longest = int(tokens.argmax(axis=1).max()) + 1
            meanings = found.meanings
            if meanings is None:  # what the encoder cannot tell apart means the same
                meanings = np.unique(tokens, axis=0, return_inverse=True)[1].ravel()
            starts = np.cumsum(found.counts) - found.counts
            arrays = (tokens[:, :longest], meanings, found.rows, starts, found.counts)
            return Tokens(tokenizer, *(tf.constant(array, tf.int64) for array in arrays))

    def text_encoder(self, num_tokens: int, out_dim: int) -> text_encoder.TextEncoder:
        """For tokens of so many ids, into the space of that width, built."""
        made = text_encoder.TextEncoder(
            num_tokens,
            self.text_length,
            self.text_width,
            self.text_layers,
            self.text_heads,
            out_dim,
            name="text_encoder",
        )
        made(tf.zeros([1, 2], tf.int64))
        return made

    def state(self, model: Any, image: tf.Tensor) -> dict[str, Any]:
        if model.captions is None:
            raise UsageError(
                "captions: CLIP compares images with them; give Pretraining what it reads of them"
            )
        z = model.projection_head(model.encoder(image))
        scale = text_encoder.LogitScale(name="logit_scale")
        scale(z)
        num_tokens = model.captions.tokenizer.num_tokens
        return {"text_encoder": self.text_encoder(num_tokens, z.shape[-1]), "logit_scale": scale}

    def trained(self, model: Any) -> list[tf.keras.layers.Layer]:
        return [*super().trained(model), model.state["text_encoder"], model.state["logit_scale"]]

    def loss(
        self, model: Any, outputs: Rows, targets: Rows, batch: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        chosen = self._drawn(model, batch["index"])
        texts = model.state["text_encoder"](tf.gather(model.captions.tokens, chosen))
        scale = model.state["logit_scale"](outputs)
        meanings = tf.gather(model.captions.meanings, chosen)
        own, loss, accuracy = image_text.image_text(outputs, texts, scale, meanings)
        return own, dict(zip(self.figures, (loss, accuracy, scale), strict=True))

    def _drawn(self, model: Any, index: tf.Tensor) -> tf.Tensor:
        """The number of a text for each of this replica's images [n], by the seed and the step."""
        step = tf.cast(model.optimizer.iterations, tf.int64)
        key = tf.stack([tf.cast(model.seed, tf.int64), -1 - step])  # no key of the augmentations is negative
        uniform = tf.random.stateless_uniform([gather.num_replicas(), tf.size(index)], key)
        counts = tf.gather(model.captions.counts, index)
        place = tf.cast(tf.gather(uniform, gather.replica_id()) * tf.cast(counts, tf.float32), tf.int64)
        starts = tf.gather(model.captions.starts, index)
        return tf.gather(model.captions.rows, starts + tf.minimum(place, counts - 1))

    def sizes(self, own: int, images: int, dim: int, weights: int, replicas: int) -> Sizes:
        """Similarities both ways, and what training the text encoder takes; z and texts are exchanged."""
        width = self.text_width
        words = self.text_vocabulary + 3 + self.text_length
        encoder = _FLOAT * (width * (words + dim) + 12 * self.text_layers * width * width)
        activations = _FLOAT * own * self.text_length * self.text_layers * (16 * width + 2 * self.text_heads)
        rows = _FLOAT * 2 * images * dim
        return Sizes(
            loss=_FLOAT * _MATRICES * own * images + 4 * rows + activations,
            state=4 * encoder,  # itself, gradient, Adam's two moments
            exchanged=traffic.all_reduce(2 * rows + encoder, replicas),
        )
