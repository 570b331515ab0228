"""What a search finds in a bank of images, and the tables that say so."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from tf_simclr.config.groups import Searching
from tf_simclr.data import Source
from tf_simclr.errors import UsageError
from tf_simclr.evaluation import clusters, duplicates, index
from tf_simclr.evaluation.clusters import Clusters
from tf_simclr.evaluation.features import Features
from tf_simclr.evaluation.nearest_neighbours import Neighbours
from tf_simclr.files import write_csv
from tf_simclr.runs.folder import RunFolder

LEAST_NEIGHBOURS = 50  # of an image, by which an index finds near-duplicates


@dataclasses.dataclass(frozen=True)
class Images:
    """n images: where they can be read again, `values` float32 [n, D] of length 1 (or 0), `ids` [n], and
    `labels` int64 [n] (-1: none; [n, C] where an image has several)."""

    source: Source
    values: np.ndarray
    ids: np.ndarray
    labels: np.ndarray

    def label(self, image: int) -> str:
        """The name of an image's class; empty where it has none, or several."""
        label = self.labels[image]
        return self.source.class_names[label] if label.ndim == 0 and label >= 0 else ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was found: `nearest` of each query in the bank, `groups` of near-duplicates and `clusters` of the
    bank. `queries` is `bank` itself where each image was searched for among the others."""

    bank: Images
    queries: Images
    nearest: Neighbours
    groups: list[np.ndarray]
    clusters: Clusters | None
    index: str
    recall: float | None


def images(source: Source, found: Features) -> Images:
    return Images(source.only(found.ids), normalize(found.values, copy=False), found.ids, found.labels)


def require_enough(wanted: Searching, bank: Source, queries: Source | None) -> None:
    """UsageError where the bank holds fewer images than are asked for.

    Args:
        queries: None where the bank's own images are the queries.
    """
    count = bank.num_examples
    others = count - 1 if queries is None else count
    if not others:
        raise UsageError(
            f"--dataset={bank.name}: split {bank.split!r} has one image, and none besides it to find; "
            "add images, or name the ones to search for by --queries"
        )
    if wanted.neighbours > others:
        besides = " besides the query" if queries is None else ""
        raise UsageError(
            f"--neighbours={wanted.neighbours}: {bank.name} has {others:,} images{besides}; "
            f"give at most {others}"
        )
    if wanted.clusters.isdigit() and int(wanted.clusters) > count:
        raise UsageError(
            f"--clusters={wanted.clusters}: {bank.name} has {count:,} images; give at most {count}, or none"
        )


def search(wanted: Searching, bank: Images, queries: Images, kind: str, seed: int) -> Outcome:
    """Neighbours, near-duplicates and clusters, as --neighbours, --duplicates_above and --clusters ask."""
    itself, k = queries is bank, wanted.neighbours
    among = None  # neighbours in the bank of its own images; near-duplicates by an index need more of them
    if itself or kind != "exact":
        most = k if kind == "exact" else max(LEAST_NEIGHBOURS, k)
        among = index.search_itself(bank.values, min(most, len(bank.values) - 1), kind, seed)
    if itself and among is not None:
        nearest = index.first(among, k)
    else:
        nearest = index.search(queries.values, bank.values, k, kind, seed)
    return Outcome(
        bank=bank,
        queries=queries,
        nearest=nearest,
        groups=_near_duplicates(wanted.duplicates_above, bank.values, among, kind),
        clusters=_clusters(wanted, bank.values, seed),
        index=kind,
        recall=None if kind == "exact" else index.recall(nearest, queries.values, bank.values, itself, seed),
    )


def _near_duplicates(
    cosine: float, values: np.ndarray, among: Neighbours | None, kind: str
) -> list[np.ndarray]:
    if kind == "exact" or among is None:
        return duplicates.groups_above(values, cosine)
    return duplicates.groups_of_neighbours(among.similarities, among.indices, cosine)


def _clusters(wanted: Searching, values: np.ndarray, seed: int) -> Clusters | None:
    if wanted.clusters == "none":
        return None
    count = clusters.how_many(len(values)) if wanted.clusters == "auto" else int(wanted.clusters)
    return clusters.k_means(values, count, seed)


def write_tables(run: RunFolder, found: Outcome) -> None:
    """neighbours.csv, duplicates.csv and, where there are clusters, clusters.csv."""
    write_csv(run.path / "neighbours.csv", ["query", "rank", "file", "cosine"], _neighbour_rows(found))
    write_csv(run.path / "duplicates.csv", ["group", "file", "cosine"], _duplicate_rows(found))
    if found.clusters is not None:
        parts = found.bank.ids, found.clusters.numbers, found.clusters.distances
        rows = ((name, number, f"{distance:.6f}") for name, number, distance in zip(*parts, strict=True))
        write_csv(run.path / "clusters.csv", ["file", "cluster", "distance"], rows)


def _neighbour_rows(found: Outcome) -> Iterator[Sequence[object]]:
    rows = zip(found.queries.ids, found.nearest.indices, found.nearest.similarities, strict=True)
    for query, indices, cosines in rows:
        for rank, (image, cosine) in enumerate(zip(indices, cosines, strict=True), 1):
            yield query, rank, found.bank.ids[image], f"{cosine:.6f}"


def _duplicate_rows(found: Outcome) -> Iterator[Sequence[object]]:
    """Each image with its cosine to the first of its group."""
    for number, group in enumerate(found.groups):
        for image, cosine in zip(group, to_first(found.bank, group), strict=True):
            yield number, found.bank.ids[image], f"{cosine:.6f}"


def to_first(bank: Images, group: np.ndarray) -> np.ndarray:
    """Cosines [g] of the images of a group to its first."""
    return bank.values[group] @ bank.values[group[0]]


def summary(found: Outcome) -> list[str]:
    """The lines that the command prints."""
    images = sum(map(len, found.groups))
    clusters = "no clusters" if found.clusters is None else f"{found.clusters.count:,} clusters"
    recall = "" if found.recall is None else f", recall {found.recall:.4f}"
    lines = [
        f"{len(found.queries.ids):,} queries in {len(found.bank.ids):,} images ({found.index}{recall}); "
        f"{len(found.groups):,} groups of near-duplicates with {images:,} images; {clusters}"
    ]
    if images > len(found.bank.ids) / 2:
        cosine = float(np.median(found.nearest.similarities[:, 0]))
        lines.append(
            f"more than half of the images have a near-duplicate, and the median cosine of the nearest image "
            f"is {cosine:.4f}: raise --duplicates_above, or train the encoder for longer"
        )
    return lines


def figures(found: Outcome, wanted: Searching) -> dict[str, Any]:
    """What result.json says of a search."""
    best = found.nearest.similarities[:, 0]
    shares = {"median": 0.5, "90 %": 0.9, "99 %": 0.99}
    return {
        "num_eval_examples": len(found.queries.ids),
        "bank_images": len(found.bank.ids),
        "neighbours": found.nearest.indices.shape[1],
        "index": found.index,
        "recall": found.recall,
        "cosine_of_nearest": {
            name: round(float(np.quantile(best, share)), 4) for name, share in shares.items()
        },
        "duplicates_above": wanted.duplicates_above,
        "duplicate_groups": len(found.groups),
        "duplicate_images": sum(map(len, found.groups)),
        "clusters": _cluster_rows(found),
    }


def _cluster_rows(found: Outcome) -> list[dict[str, Any]]:
    if found.clusters is None:
        return []
    members = [found.clusters.nearest(number) for number in range(found.clusters.count)]
    return [
        {"cluster": number, "images": len(own), "nearest_to_centre": found.bank.ids[own[0]]}
        for number, own in enumerate(members)
    ]
