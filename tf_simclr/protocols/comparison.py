"""Label efficiency: pretrained against untrained, raw pixels and from scratch, on the same draws."""

from __future__ import annotations

import tensorflow as tf

from tf_simclr.config import Config
from tf_simclr.data import Source
from tf_simclr.errors import UsageError
from tf_simclr.evaluation.label_efficiency import LabelEfficiency, label_efficiency
from tf_simclr.inputs import labelled
from tf_simclr.protocols import outcome
from tf_simclr.protocols.from_scratch import from_scratch
from tf_simclr.reports import plots
from tf_simclr.runs.folder import RunFolder
from tf_simclr.runs.loading import new_parts

PRETRAINED, UNTRAINED, PIXELS = "pretrained", "untrained", "raw pixels"


def compare(config: Config, encoder: tf.keras.Model, train: Source, test: Source) -> list[LabelEfficiency]:
    """Logistic regression on three representations, and training from scratch, by labels a class."""
    numbers = _numbers(config.draws.draws_labels_per_class)
    encodes = {
        PRETRAINED: encoder,
        UNTRAINED: new_parts(config, 0)["encoder"],
        PIXELS: lambda images: tf.reshape(images, [tf.shape(images)[0], -1]),
    }
    features = {}
    for name, encode in encodes.items():
        both = [labelled.features(config, encode, source) for source in (train, test)]
        features[name] = (both[0].values, both[1].values)
    rows = label_efficiency(
        features,
        both[0].labels,
        both[1].labels,
        labels_per_class=numbers,
        num_draws=config.draws.num_draws,
    )
    if config.draws.num_scratch_draws:
        rows += from_scratch(config, train, test, numbers, config.draws.num_scratch_draws)
    return rows


def conclude(run: RunFolder, rows: list[LabelEfficiency], step: int, test: Source) -> None:
    """Prints and draws the table, writes result.json; `top1` is the pretrained encoder's on all labels."""
    print(_table(rows))
    (run.path / "label_efficiency.png").write_bytes(plots.label_efficiency(rows))
    means = {
        f"{row.representation}, {row.labels_per_class or 'all'}": [round(row.mean, 2), round(row.std, 2)]
        for row in rows
    }
    whole = [row.mean for row in rows if row.representation == PRETRAINED and row.labels_per_class is None]
    top1 = whole[0] if whole else None
    outcome.conclude(
        run,
        step,
        num_eval_examples=test.num_examples,
        eval_split=test.split,
        top1=top1,
        mean_and_std=means,
    )


def _table(rows: list[LabelEfficiency]) -> str:
    numbers = list(dict.fromkeys(row.labels_per_class for row in rows))
    lines = ["top-1 %, mean ± std over draws of the labels"]
    lines.append(f"{'labels a class':<16}" + "".join(f"{number or 'all':>16}" for number in numbers))
    for name in dict.fromkeys(row.representation for row in rows):
        own = {row.labels_per_class: row for row in rows if row.representation == name}
        cells = [f"{own[number].mean:.1f} ± {own[number].std:.1f}" for number in numbers]
        lines.append(f"{name:<16}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def _numbers(text: str) -> list[int | None]:
    try:
        return [None if part.strip() == "all" else int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--draws_labels_per_class={text}: give numbers and `all`, as in 1,2,5,all"
        ) from None
