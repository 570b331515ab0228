"""Prompts of classes, and the zero-shot classifier that they make (CLIP, Radford et al., 2021, Sec. 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tf_simclr.config import Config
from tf_simclr.data import captions
from tf_simclr.errors import UsageError
from tf_simclr.evaluation.features import Encode
from tf_simclr.objectives.unit import unit
from tf_simclr.runs import LoadedRun


def prompts(config: Config, settings: Mapping[str, Any], class_names: Sequence[str]) -> dict[str, list[str]]:
    """{class: its prompts} in the order of the classes, by --prompts; `settings` are the run's config.json.

    Raises:
        UsageError: a template has no place for the class, or the CSV lacks a class, or has another.
    """
    wanted, method = config.prompting.prompts, settings["method"]
    if wanted.endswith(".csv"):
        return _of_csv(wanted, class_names)
    templates = wanted or (captions.SLOT if method["captions"] else method["caption_templates"])
    for template in templates.split(captions.BETWEEN):
        if captions.SLOT not in template:
            raise UsageError(f"--prompts={wanted}: {template!r} has no {{}} for the class, nor is it a CSV")
    return {name: captions.filled(templates, name) for name in class_names}


def _of_csv(path: str, class_names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in class_names}
    for name, prompt in captions.read_table(path, "prompts", ("class", "prompt")):
        if name not in found:
            raise UsageError(f"--prompts={path}: --dataset has no class {name!r}")
        found[name].append(prompt)
    silent = next((name for name, texts in found.items() if not texts), None)
    if silent is not None:
        raise UsageError(f"--prompts={path} has no row for the class {silent!r}; add one")
    return found


def classifier(run: LoadedRun, prompts: Iterable[Sequence[str]]) -> Encode:
    """Images [b, H, W, C] to logits [b, C]: s times the cosine of z and the class's vector.

    That is the mean of its prompts' unit embeddings, made a unit vector again (open_clip's
    zero_shot_classifier): one is averaged over templates before any image is seen.
    """
    (texts, head), encoder = run.require_texts(), run.encoder
    means = [tf.reduce_mean(unit(texts(tf.constant(own))), axis=0) for own in prompts]
    vectors = unit(tf.stack(means))  # [C, P]
    scale = tf.exp(texts.scale.t)
    return lambda images: scale * tf.matmul(unit(head(encoder(images))), vectors, transpose_b=True)
