"""The pictures of a search: search.html, search.png, map.html and the files of TensorBoard's projector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_simclr.evaluation import maps
from tf_simclr.files import write_whole
from tf_simclr.protocols import thumbnails
from tf_simclr.protocols.searching import Images, Outcome, to_first
from tf_simclr.reports import map_page, projector, search_page
from tf_simclr.reports.search_page import Block, Shown
from tf_simclr.runs.folder import RunFolder

MOST_QUERIES, MOST_GROUPS, MOST_CLUSTERS = 24, 24, 16  # rows of search.html
COLUMNS = 9
SIDE = 128  # pixels of a picture there
SHEET_ROWS = 6  # of search.png, a block
MOST_POINTS = 2000  # images of the map: t-SNE takes a minute, the page 5 MB
MOST_COLOURS = 20  # classes that colours still tell apart
METHODS = {"tsne": "t-SNE", "umap": "UMAP"}

Row = list[tuple[Images, int, str]]  # whose image, which one, what is said of it


def write(run: RunFolder, found: Outcome) -> None:
    """search.html and search.png of samples, and map.html with the projector's files unless --map=none."""
    title = f"search: {found.bank.source.name}"
    blocks = _with_pictures(list(_blocks(found)))
    notes = [f"{len(found.bank.ids):,} images; the tables beside this page hold all that it leaves out."]
    search_page.write_page(run.path / "search.html", title, notes, blocks)
    sheet = search_page.contact_sheet([block._replace(rows=block.rows[:SHEET_ROWS]) for block in blocks])
    write_whole(run.path / "search.png", sheet)
    if run.config.searching.map != "none" and len(found.bank.ids) > 1:
        _map(run, found, title)


def _blocks(found: Outcome) -> Iterator[tuple[str, str, list[Row]]]:
    """(heading, note, rows) of each block, without pictures."""
    yield _neighbours(found)
    yield _duplicates(found)
    if found.clusters is not None:
        yield _clusters(found)


def _neighbours(found: Outcome) -> tuple[str, str, list[Row]]:
    count = len(found.queries.ids)
    queries = np.unique(np.linspace(0, count - 1, MOST_QUERIES).astype(np.int64))
    rows: list[Row] = []
    for query in queries:
        nearest = zip(found.nearest.indices[query], found.nearest.similarities[query], strict=True)
        near = [(found.bank, int(image), f"{cosine:.3f}") for image, cosine in nearest]
        rows.append([(found.queries, int(query), "query"), *near][:COLUMNS])
    note = (
        f"{len(queries):,} of {count:,} queries, then their nearest images and the cosines; neighbours.csv "
        "has all."
    )
    return "Nearest neighbours", note, rows


def _duplicates(found: Outcome) -> tuple[str, str, list[Row]]:
    rows: list[Row] = []
    for group in found.groups[:MOST_GROUPS]:
        shown = group[:COLUMNS]
        cosines = to_first(found.bank, shown)
        texts = ["first", *(f"{cosine:.3f}" for cosine in cosines[1:])]
        rows.append([(found.bank, int(image), text) for image, text in zip(shown, texts, strict=True)])
    note = (
        f"{len(rows):,} of {len(found.groups):,} groups, at most {COLUMNS} images of each, with the cosine "
        "to the first; duplicates.csv has all."
    )
    return "Near-duplicates", note if rows else "none at this cosine.", rows


def _clusters(found: Outcome) -> tuple[str, str, list[Row]]:
    assert found.clusters is not None
    rows: list[Row] = []
    for number in range(min(found.clusters.count, MOST_CLUSTERS)):
        members = found.clusters.nearest(number)
        texts = [f"{number}: {len(members):,} images", *[""] * len(members)]
        shown = zip(members[:COLUMNS], texts, strict=False)
        rows.append([(found.bank, int(image), text) for image, text in shown])
    note = (
        f"{len(rows):,} of {found.clusters.count:,} clusters, the largest first: the images nearest to each "
        "centre; clusters.csv has all."
    )
    return "Clusters", note, rows


def _with_pictures(blocks: list[tuple[str, str, list[Row]]]) -> list[Block]:
    """The blocks with the pictures of their images, each image read once."""
    owners = {id(images): images for _, _, rows in blocks for row in rows for images, _, _ in row}
    pictures = {}
    for key, owner in owners.items():
        wanted = [n for _, _, rows in blocks for row in rows for images, n, _ in row if images is owner]
        pictures[key] = thumbnails.of_images(owner.source, np.array(wanted), SIDE)

    def shown(row: Row) -> list[Shown]:
        return [
            Shown(pictures[id(images)][number], str(images.ids[number]), _said(images, number, text))
            for images, number, text in row
        ]

    return [Block(heading, note, [shown(row) for row in rows]) for heading, note, rows in blocks]


def _said(images: Images, number: int, text: str) -> str:
    return " ".join(filter(None, [text, images.label(number)]))


def _map(run: RunFolder, found: Outcome, title: str) -> None:
    """map.html, and logs/ for TensorBoard's projector, of the same images."""
    bank, wanted = found.bank, run.config
    count, seed = len(bank.ids), wanted.run.seed
    chosen = np.sort(np.random.default_rng(seed).permutation(count)[:MOST_POINTS])
    read = thumbnails.of_images(bank.source, chosen, map_page.largest_side(len(chosen)))
    pictures = [read[image] for image in chosen.tolist()]
    known = _known(found, chosen)
    colours, meaning = _colours(found, chosen)
    some = f"{count:,} images" if len(chosen) == count else f"{len(chosen):,} of {count:,} images, by --seed"
    note = (
        f"{METHODS[wanted.searching.map]} of {wanted.embedding.layer}: {some}{meaning}. "
        "Drag; zoom by wheel or two fingers; point at a picture."
    )
    described = [
        ", ".join(
            f"{name} {value}"
            for name, value in zip(known, row, strict=True)
            if name != "file" and value != ""
        )
        for row in zip(*known.values(), strict=True)
    ]
    parts = pictures, known["file"], described, colours
    points = [map_page.Point(*point) for point in zip(*parts, strict=True)]
    positions = maps.positions(bank.values[chosen], wanted.searching.map, seed)
    map_page.write_map(run.path / "map.html", title, note, positions, points)
    projector.write(run.logs, wanted.embedding.layer, bank.values[chosen], known, pictures)


def _known(found: Outcome, chosen: np.ndarray) -> dict[str, list[Any]]:
    """What is known of the chosen images, by column: file, and label and cluster where there are some."""
    labels = [found.bank.label(int(image)) for image in chosen]
    known: dict[str, list[Any]] = {"file": found.bank.ids[chosen].tolist()}
    if any(labels):
        known["label"] = labels
    if found.clusters is not None:
        known["cluster"] = found.clusters.numbers[chosen].tolist()
    return known


def _colours(found: Outcome, chosen: np.ndarray) -> tuple[list[int], str]:
    """A number a chosen image (-1: no colour), and what they mean: classes if they are few, else clusters."""
    classes = found.bank.source.num_classes
    if 2 <= classes <= MOST_COLOURS and found.bank.labels.ndim == 1:
        return found.bank.labels[chosen].tolist(), "; frames: classes"
    if found.clusters is not None and found.clusters.count <= MOST_COLOURS:
        return found.clusters.numbers[chosen].tolist(), "; frames: clusters"
    return [-1] * len(chosen), ""
