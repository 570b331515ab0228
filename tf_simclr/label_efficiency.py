"""`python -m tf_simclr.label_efficiency`: what pretraining is worth when labels are few."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from etils import epy

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.errors import UsageError

with epy.lazy_imports():
    import tensorflow as tf

    from tf_simclr import data, files, inputs, networks, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.evaluation import label_efficiency as few_labels
    from tf_simclr.inputs import labelled
    from tf_simclr.protocols import from_scratch, results
    from tf_simclr.reports import plots, terminal
    from tf_simclr.runs import parts

COMMAND = Command(
    "label_efficiency",
    "compare a pretrained encoder with an untrained one, raw pixels and training from scratch",
    "data views encoder head optimization draws checkpoints devices run".split(),
    {
        "optimizer": "nesterov",
        "learning_rate": 0.05,
        "weight_decay": 0.0,
        "warmup_epochs": 0.0,
        "train_batch_size": 64,
        "train_steps": 200,
    },
)
PRETRAINED, UNTRAINED, PIXELS = "pretrained", "untrained", "raw pixels"


def label_efficiency(config: Config) -> dict[str, Any]:
    run = runs.RunFolder.open(config, COMMAND)
    strategies.set_up(config)
    training.print_evaluation_plan(run)
    train, test = inputs.train_and_test_sources(config)
    training.print_census(train, test)
    training.print_held_out(run, train)
    labelled.require_draws(train, _numbers(config.draws.draws_labels_per_class))
    encoder, step = runs.frozen_encoder(config)
    run.write_data(train)

    rows = compare(config, encoder, train, test)
    print(_table(rows))
    files.write_whole(run.path / "label_efficiency.png", plots.label_efficiency(rows))
    return results.conclude(
        run, step, num_eval_examples=test.num_examples, eval_split=test.split, **_figures(rows)
    )


def compare(
    config: Config, encoder: networks.Encoder, train: data.Source, test: data.Source
) -> list[few_labels.LabelEfficiency]:
    """Logistic regression on three representations, and training from scratch, by labels a class."""
    numbers = _numbers(config.draws.draws_labels_per_class)
    encodes = {
        PRETRAINED: encoder,
        UNTRAINED: parts.new_parts(config, 0)["encoder"],
        PIXELS: lambda images: tf.reshape(images, [tf.shape(images)[0], -1]),
    }
    features = {}
    for name, encode in encodes.items():
        both = [labelled.features(config.data, encode, source) for source in (train, test)]
        features[name] = (both[0].values, both[1].values)
    rows = few_labels.label_efficiency(
        features,
        both[0].labels,
        both[1].labels,
        labels_per_class=numbers,
        num_draws=config.draws.num_draws,
    )
    if config.draws.num_scratch_draws:
        rows += from_scratch.from_scratch(config, train, test, numbers, config.draws.num_scratch_draws)
    return rows


def _figures(rows: list[few_labels.LabelEfficiency]) -> dict[str, Any]:
    """What result.json says; `top1` is the pretrained encoder's on all labels."""
    whole = [row.mean for row in rows if row.representation == PRETRAINED and row.labels_per_class is None]
    means = {
        f"{row.representation}, {row.labels_per_class or 'all'}": [round(row.mean, 2), round(row.std, 2)]
        for row in rows
    }
    return {"top1": whole[0] if whole else None, "mean_and_std": means}


def _table(rows: list[few_labels.LabelEfficiency]) -> str:
    numbers = list(dict.fromkeys(row.labels_per_class for row in rows))
    lines = []
    for name in dict.fromkeys(row.representation for row in rows):
        own = {row.labels_per_class: row for row in rows if row.representation == name}
        lines.append([name, *(f"{own[number].mean:.1f} ± {own[number].std:.1f}" for number in numbers)])
    table = terminal.table(["labels a class", *(str(number or "all") for number in numbers)], lines)
    return f"top-1 %, mean ± std over draws of the labels\n{table}"


def _numbers(text: str) -> list[int | None]:
    try:
        return [None if part.strip() == "all" else int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--draws_labels_per_class={text}: give numbers and `all`, as in 1,2,5,all"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, label_efficiency, arguments)


if __name__ == "__main__":
    sys.exit(main())
