"""`python -m tf_simclr.knn`: k-nearest-neighbour accuracy of h (Wu et al., 2018)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from etils import epy

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.errors import UsageError

with epy.lazy_imports():
    import numpy as np

    from tf_simclr import data, inputs, models, networks, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.evaluation import features, metrics, nearest_neighbours
    from tf_simclr.inputs import labelled
    from tf_simclr.protocols import pictures, predictions, proof, repeats, results
    from tf_simclr.runs import loading

COMMAND = Command(
    "knn",
    "classify test images by their nearest training images, by cosine of h",
    "data encoder head neighbours repeats comparison checkpoints devices run".split(),
    {},
)


def knn(config: Config) -> dict[str, Any]:
    if config.repeats.seeds and config.checkpoints.checkpoint:
        raise UsageError(
            "--seeds: k-NN of a checkpoint draws nothing, every seed gives the same; leave it out"
        )
    return repeats.over_seeds(config, COMMAND, knn_once)


def knn_once(config: Config) -> dict[str, Any]:
    run = runs.RunFolder.open(config, COMMAND)
    strategies.set_up(config)
    training.print_evaluation_plan(run)
    bank, queries = inputs.train_and_test_sources(config)
    training.print_census(bank, queries)
    training.print_held_out(run, queries)
    encoder, head, step = loading.frozen_parts(config)
    run.write_data(queries)

    with proof.frozen(encoder) as hashes:
        accuracy = _classify(run, encoder, head, bank, queries)
    return results.conclude(run, step, **hashes, **accuracy)


def _classify(
    run: runs.RunFolder,
    encoder: networks.Encoder,
    head: models.ProjectionHead | None,
    bank: data.Source,
    queries: data.Source,
) -> dict[str, Any]:
    """Classifies the queries by the bank; `top1` is that of the last k and weighted votes."""
    wanted, ks = run.config.data, run.config.neighbours.ks()
    asked = labelled.features(wanted, encoder, queries)
    names: list[str] = []
    stored = _checked(features.encode_batches(encoder, inputs.evaluation_batches(wanted, bank)), bank, names)
    found = nearest_neighbours.nearest_neighbours(asked.values, stored, max(ks))
    pictures.tsne(run, asked, head, bank.class_names)
    pictures.neighbours(run, found, bank.only(np.array(names)), queries.only(asked.ids))
    votes = nearest_neighbours.classify(found, asked.labels, bank.num_classes, ks)
    best = votes[-2]
    print(
        f"  top-1 is that of k = {best.k}, weighted; result.json has {', '.join(vote.name for vote in votes)}"
    )
    scores = nearest_neighbours.class_votes(found, best.k, bank.num_classes, best.weighted)
    shares = scores / scores.sum(axis=1, keepdims=True)
    predictions.keep(run, queries, asked._replace(values=scores), shares)
    return {
        "num_eval_examples": len(asked.labels),
        "eval_split": queries.split,
        "top1": best.top1,
        "top5": best.top5,
        "mean_per_class": metrics.mean_per_class_accuracy(best.predictions, asked.labels),
        "knn": {vote.name: vote.top1 for vote in votes},
        "knn_k": list(dict.fromkeys(vote.k for vote in votes)),
    }


def _checked(
    parts: Iterable[features.Features], bank: data.Source, names: list[str]
) -> Iterator[features.Features]:
    """The parts, whose ids it adds to `names`."""
    for part in parts:
        names.extend(part.ids)
        labelled.require_labels(part, bank)
        yield part


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, knn, arguments)


if __name__ == "__main__":
    sys.exit(main())
