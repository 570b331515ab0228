"""`python -m tf_simclr.transformation_probe`: what was done to an image, told from h and g(h) (Table 3)."""

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

    from tf_simclr import data, inputs, models, networks, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.evaluation import features, logistic_regression, mlp
    from tf_simclr.inputs import splits
    from tf_simclr.protocols import (
        as_pretrained,
        layers,
        on_features,
        proof,
        repeats,
        results,
        transformations,
    )
    from tf_simclr.reports import markdown
    from tf_simclr.runs import loading

COMMAND = Command(
    "transformation_probe",
    "an MLP tells from h and from g(h) what was done to an image: grey, rotated, noisy or Sobel-filtered",
    "data encoder head transforming repeats checkpoints devices run".split(),
    {},
)


REPRESENTATIONS = ("h", "g(h)")
MARKDOWN = "transformation_probe.md"


def transformation_probe(config: Config) -> dict[str, Any]:
    return repeats.over_seeds(config, COMMAND, probe_once, combine=_over_seeds)


def probe_once(config: Config) -> dict[str, Any]:
    """Trains and tests an MLP for each transformation and representation, and returns result.json."""
    asked = transformations.names(config)
    run = runs.RunFolder.open(config, COMMAND)
    strategies.set_up(config)
    training.print_evaluation_plan(run)
    train, test = inputs.train_source(config), inputs.eval_source(config, labelled=False)
    splits.require_apart(train, test)
    training.print_census(train, test)
    training.print_held_out(run, test)
    encoder, head, step = loading.frozen_parts(config)
    run.write_data(test)

    with proof.frozen(encoder, head) as hashes:
        rows = [row_of(run, name, (train, test), encoder, head) for name in asked]
    _write_table(run, rows)
    count = _count(run, test)
    return results.conclude(
        run, step, **hashes, num_eval_examples=count, eval_split=test.split, transformations=rows
    )


def _count(run: runs.RunFolder, source: data.Source) -> int:
    return min(source.num_examples, run.config.transforming.transformed_images)


def row_of(
    run: runs.RunFolder,
    name: str,
    sources: tuple[data.Source, data.Source],
    encoder: networks.Encoder,
    head: models.ProjectionHead | None,
) -> dict[str, Any]:
    """The row of one transformation, taken from the run folder when it was finished before.

    `sources` are the images to train on and to test on.
    """
    weights = " ".join(features.encoder_sha256(part) for part in (encoder, head) if part is not None)
    key = "; ".join(on_features.cache_key(run.config, source, weights) for source in sources)
    file = f"transformation_{name}.json"
    stored = run.read_json(file)
    if stored.get("key") == key:
        return stored["row"]
    done = transformations.named(name)
    views = as_pretrained.views(run.config)
    h = [
        features.extract_features(
            encoder, transformations.transformed(views, name, source, _count(run, source))
        )
        for source in sources
    ]
    row: dict[str, Any] = {"transformation": name, "title": done.title, "chance": done.chance}
    row |= {of: _accuracy(run, h, of, head, done.num_classes) for of in _representations(head)}
    row |= {f"paper {of}": figure for of, figure in zip(REPRESENTATIONS, done.paper, strict=True)}
    told = ", ".join(f"{row[of]:.1f} % from {of}" for of in _representations(head))
    print(f"{done.title}: {told}; chance {done.chance:g} %", flush=True)
    run.write_json(file, {"key": key, "row": row})
    return row


def _representations(head: models.ProjectionHead | None) -> tuple[str, ...]:
    """h alone where there is no projection head: g(h) is h then."""
    return REPRESENTATIONS if head is not None and head.dense_layers else REPRESENTATIONS[:1]


def _accuracy(
    run: runs.RunFolder,
    h: Sequence[features.Features],
    representation: str,
    head: models.ProjectionHead | None,
    num_classes: int,
) -> float:
    """Percent right on the second of `h`, features to train on and to test on."""
    layer = layers.numbered("h" if representation == "h" else "z", head)
    batch, asked = run.config.data.eval_batch_size, run.config.transforming
    train, test = (
        logistic_regression.LabelledFeatures(layers.outputs(part.values, layer, head, batch), part.labels)
        for part in h
    )
    probe = mlp.MLP(asked.mlp_hidden_dim, asked.mlp_steps, run.config.run.seed)
    return probe.accuracy(train, test, num_classes)


def _over_seeds(run: runs.RunFolder, per_seed: list[dict[str, Any]]) -> dict[str, Any]:
    """Each figure's mean over the seeds, with its deviation and what each seed had."""
    rows = []
    for same in zip(*(result["transformations"] for result in per_seed), strict=True):
        row = dict(same[0])
        for of in (name for name in REPRESENTATIONS if name in row):
            figures = [one[of] for one in same]
            row |= {of: float(np.mean(figures)), f"{of} std": repeats.deviation(figures)}
            row |= {f"{of} per seed": figures}
        rows.append(row)
    _write_table(run, rows)
    return {"transformations": rows}


def _write_table(run: runs.RunFolder, rows: list[dict[str, Any]]) -> None:
    """Prints Table 3 of this run and keeps it as Markdown."""
    columns = ["chance", *REPRESENTATIONS, *(f"paper {of}" for of in REPRESENTATIONS)]
    cells = ([row["title"], *(_cell(row, name) for name in columns)] for row in rows)
    text = "\n".join(markdown.table(["what is told apart", *columns], cells))
    print(text)
    run.write(MARKDOWN, text + "\n")


def _cell(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return "-"
    deviation = row.get(f"{name} std")
    return f"{row[name]:.1f}" + (f" ± {deviation:.1f}" if deviation is not None else "")


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, transformation_probe, arguments)


if __name__ == "__main__":
    sys.exit(main())
