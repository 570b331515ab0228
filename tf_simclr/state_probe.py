"""`python -m tf_simclr.state_probe`: an environment's state, read from h by linear regression."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from etils import epy

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

    from tf_simclr import data, inputs, networks, runs, training
    from tf_simclr.control import states
    from tf_simclr.devices import strategies
    from tf_simclr.evaluation import features, regression
    from tf_simclr.inputs import splits
    from tf_simclr.protocols import proof, results
    from tf_simclr.reports import markdown
    from tf_simclr.runs import loading, parts

COMMAND = Command(
    "state_probe",
    "read an environment's state from h by ridge regression, beside an untrained encoder's h and the pixels",
    "data encoder head state_probe checkpoints devices run".split(),
    {},
)
REPRESENTATIONS = ("h", "untrained", "pixels")
MARKDOWN = "state_probe.md"


def state_probe(config: Config) -> dict[str, Any]:
    """Fits on the split train, tests on the split test, and returns result.json."""
    table = states.read(states.path_of(config.state_probe.states, config.data.dataset))
    run = runs.RunFolder.open(config, COMMAND)
    strategies.set_up(config)
    training.print_evaluation_plan(run)
    whole = inputs.train_source(config), inputs.eval_source(config, labelled=False)
    splits.require_apart(*whole)
    sources = [inputs.few(source, config.state_probe.state_images) for source in whole]
    targets = [table.of(source.names()) for source in sources]
    untrained = parts.new_parts(config, 0)["encoder"]
    encoder, _, step = loading.frozen_parts(config)
    run.write_data(whole[1])

    with proof.frozen(encoder) as hashes:
        seen = _representations(config, sources, encoder, untrained)
    fits = {name: regression.ridge(*seen[name], *targets) for name in REPRESENTATIONS}
    rows = [_row(name, number, fits) for number, name in enumerate(table.names)]
    _write_table(run, rows)
    stated: dict[str, Any] = {**hashes, "num_train_examples": len(targets[0]), "width": encoder.output_dim}
    stated |= {"num_eval_examples": len(targets[1]), "eval_split": whole[1].split, "states": rows}
    return results.conclude(run, step, **stated)


def _representations(
    config: Config,
    sources: Sequence[data.Source],
    encoder: networks.Encoder,
    untrained: networks.Encoder,
) -> dict[str, list[np.ndarray]]:
    """Of the images to fit on and of those to test on: [n, D] each, of the pixels D principal components."""
    encoders: tuple[features.Encode, ...] = (encoder, untrained, _flat)
    found = {}
    for name, encode in zip(REPRESENTATIONS, encoders, strict=True):
        batches = (inputs.evaluation_batches(config.data, source, replace=True) for source in sources)
        found[name] = [features.extract_features(encode, each).values for each in batches]
    train, test = found["pixels"]
    pixels = regression.principal_components(train, test, encoder.output_dim, config.run.seed)
    return found | {"pixels": list(pixels)}


def _flat(images: tf.Tensor) -> tf.Tensor:
    return tf.reshape(images, [tf.shape(images)[0], -1])


def _row(state: str, number: int, fits: dict[str, regression.Fit]) -> dict[str, Any]:
    row: dict[str, Any] = {"state": state}
    for name, fit in fits.items():
        row |= {f"{name} R2": fit.r2[number], f"{name} error": fit.rmse[number]}
    return row


def _write_table(run: runs.RunFolder, rows: list[dict[str, Any]]) -> None:
    """Prints R^2 and errors and keeps them as Markdown."""
    columns = list(rows[0])
    cells = ([row["state"], *(f"{row[name]:.3f}" for name in columns[1:])] for row in rows)
    text = "\n".join(markdown.table(columns, cells))
    print(text)
    run.write(MARKDOWN, text + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, state_probe, arguments)


if __name__ == "__main__":
    sys.exit(main())
