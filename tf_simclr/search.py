"""`python -m tf_simclr.search`: nearest neighbours, near-duplicates and clusters of images without labels."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from etils import epy

from tf_simclr import cli
from tf_simclr.config import Config
from tf_simclr.config.flags import Command
from tf_simclr.errors import naming

with epy.lazy_imports():
    from tf_simclr import data, inputs, models, networks, runs, training
    from tf_simclr.devices import strategies
    from tf_simclr.evaluation import features, index, maps
    from tf_simclr.protocols import layers, on_features, proof, results, search_pictures, searching
    from tf_simclr.runs import loading

COMMAND = Command(
    "search",
    "find nearest neighbours, near-duplicates and clusters of images by cosine of h; no labels needed",
    "data encoder head embedding searching checkpoints devices run".split(),
    {},
)
TABLES = ("neighbours.csv", "duplicates.csv", "clusters.csv")
PICTURES = ("search.html", "search.png", "map.html", "logs/projector_config.pbtxt")


def search(config: Config) -> dict[str, Any]:
    wanted = config.searching
    if not config.data.eval_split:
        config = config.replace(holdout=0.0)  # nothing is tested
    bank, queries = _sources(config)
    searching.require_enough(wanted, bank, queries)
    maps.require(wanted.map)
    kind = index.choose(wanted.index, bank.num_examples)
    run = runs.RunFolder.open(config, COMMAND)
    strategies.set_up(config)
    training.print_evaluation_plan(run)
    encoder, head, step = loading.frozen_parts(config)
    run.write_data(bank)
    training.print_census(bank)
    for name in (*TABLES, *PICTURES):  # another search here may have left some that this one does not write
        (run.path / name).unlink(missing_ok=True)

    with proof.frozen(encoder) as hashes:
        stored = _images(run, bank, encoder, head)
        asked = stored if queries is None else _images(run, queries, encoder, head)
    found = searching.search(wanted, stored, asked, kind, config.run.seed)
    searching.write_tables(run, found)
    search_pictures.write(run, found)
    print("  " + "\n  ".join([*searching.summary(found), f"tables, search.html and maps in {run.path}"]))
    return results.conclude(run, step, **hashes, **searching.figures(found, wanted))


def _sources(config: Config) -> tuple[data.Source, data.Source | None]:
    """The bank, --train_split, and the queries: --queries, else --eval_split, else None, the bank's own."""
    bank = inputs.any_split(config, config.data.train_split)
    named, split = config.searching.queries, config.data.eval_split
    if not named:
        return bank, inputs.any_split(config, split) if split else None
    with naming("queries", instead_of="dataset"):
        other = config.replace(dataset=named, labels="", holdout=0.0)
        queries = inputs.any_split(other, split or _split_of(named, config.data.data_dir))
    return bank, queries


def _split_of(dataset: str, data_dir: str) -> str:
    """The split to search for: test or validation where there is one, else the first."""
    return (data.eval_splits(dataset, data_dir) or list(data.available_splits(dataset, data_dir)))[0]


def _images(
    run: runs.RunFolder, source: data.Source, encoder: networks.Encoder, head: models.ProjectionHead | None
) -> searching.Images:
    """The images at --layer, from MODEL_DIR/features where they are there."""
    config = run.config
    layer = layers.numbered(config.embedding.layer, head)
    sha256 = f"{features.encoder_sha256(encoder)} {features.encoder_sha256(head) if layer else ''}"
    key = on_features.cache_key(config, source, sha256, layer)

    def computed() -> features.Features:
        h = features.extract_features(encoder, inputs.evaluation_batches(config.data, source))
        return h._replace(values=layers.outputs(h.values, layer, head, config.data.eval_batch_size))

    return searching.images(source, features.cached_features(on_features.cache_folder(run), key, computed))


def main(arguments: Sequence[str] | None = None) -> int:
    return cli.main(COMMAND, search, arguments)


if __name__ == "__main__":
    sys.exit(main())
