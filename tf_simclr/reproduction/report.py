"""A table's report: rows beside the paper's, a picture, verdicts; as Markdown, HTML, CSV and PNG."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.stats
from etils import epath

from tf_simclr.files import write_csv, write_whole
from tf_simclr.reports import markdown as markdown_lib
from tf_simclr.reports import page, row_pictures
from tf_simclr.reproduction import verdicts
from tf_simclr.reproduction.store import Values
from tf_simclr.reproduction.tables import Row, Table

_COLUMNS = ("row", "ours, %", "seeds", "rank", "the paper, %", "the paper's rank")
_VERDICT_COLUMNS = ("claim", "verdict", "comparison", "difference", "its error")
_HEAD = """# The paper's tables and figures

Written by `make paper` from the results of finished rows. Ours are means and standard deviations over seeds,
at a size and for a time that are not the paper's: what compares are ranks and claims, not accuracies. How
claims are judged stands in [reproducing.md](reproducing.md)."""


@dataclasses.dataclass(frozen=True)
class Line:
    """A row of the report; None where there is no figure yet, or none of the paper's."""

    row: Row
    figures: tuple[float, ...]
    rank: int | None
    paper_rank: int | None

    @property
    def mean(self) -> float | None:
        return float(np.mean(self.figures)) if self.figures else None

    @property
    def deviation(self) -> float | None:
        return float(np.std(self.figures, ddof=1)) if len(self.figures) > 1 else None

    @property
    def ours(self) -> str:
        if self.mean is None:
            return "-"
        return f"{self.mean:.2f}" + ("" if self.deviation is None else f" ± {self.deviation:.2f}")

    @property
    def cells(self) -> list[object]:
        paper = None if self.row.paper is None else f"{self.row.paper:.1f}"
        return [self.row.label, self.ours, len(self.figures), self.rank, paper, self.paper_rank]


@dataclasses.dataclass(frozen=True)
class Report:
    """What a table's results say."""

    table: Table
    lines: tuple[Line, ...]
    agreement: verdicts.Agreement | None
    verdicts: tuple[verdicts.Verdict, ...]

    @property
    def agrees(self) -> str:
        if self.agreement is None:
            return "Spearman's rank correlation with the paper's rows: too few rows have both figures."
        found = self.agreement
        return (
            f"Spearman's rank correlation with the paper's rows: {found.correlation:.2f} "
            f"(p = {found.p_value:.2g}, {found.rows} rows)."
        )


def of(table: Table, values: Values) -> Report:
    """The report of a table's rows, finished or not."""
    own = {row.name: values.get((table.name, row.name), {}) for row in table.rows}
    means = [float(np.mean(list(own[row.name].values()))) if own[row.name] else None for row in table.rows]
    ranks, paper_ranks = _ranks(means), _ranks([row.paper for row in table.rows])
    lines = tuple(
        Line(row, tuple(own[row.name][seed] for seed in sorted(own[row.name])), rank, paper_rank)
        for row, rank, paper_rank in zip(table.rows, ranks, paper_ranks, strict=True)
    )
    both = [(line.mean, line.row.paper) for line in lines if None not in (line.mean, line.row.paper)]
    agreement = verdicts.agreement(*zip(*both, strict=True)) if both else None
    return Report(table, lines, agreement, tuple(verdicts.judge(table, own)))


def _ranks(figures: Sequence[float | None]) -> list[int | None]:
    """1 is the highest; equal ones share the better rank."""
    known = [figure for figure in figures if figure is not None]
    ranks = iter(scipy.stats.rankdata([-figure for figure in known], method="min"))
    return [None if figure is None else int(next(ranks)) for figure in figures]


def write(report: Report, folder: epath.Path) -> None:
    """Writes TABLE.md, .html, .csv and, where the table has a picture, .png."""
    folder.mkdir(parents=True, exist_ok=True)
    name = report.table.name
    drawn = picture(report)
    if drawn:
        write_whole(folder / f"{name}.png", drawn)
    write_whole(folder / f"{name}.md", "\n".join(markdown(report, f"{name}.png", level=1)) + "\n")
    columns = ("row", "label", "mean", "deviation", "seeds", "rank", "paper", "paper_rank")
    rows = [
        (
            line.row.name,
            line.row.label,
            line.mean,
            line.deviation,
            len(line.figures),
            line.rank,
            line.row.paper,
            line.paper_rank,
        )
        for line in report.lines
    ]
    write_csv(folder / f"{name}.csv", columns, rows)
    page.write_report(folder / f"{name}.html", report.table.title, _sections(report, drawn))


def picture(report: Report) -> bytes | None:
    """The PNG of the rows that are finished; None where the table has none or no row is."""
    table, shown = report.table, [line for line in report.lines if line.mean is not None]
    if table.picture == "none" or not shown:
        return None
    points = [
        row_pictures.Point(line.row.at or (line.row.label,), line.mean or 0.0, line.deviation or 0.0)
        for line in shown
    ]
    return row_pictures.draw(table.picture, points, table.axes, "accuracy, %")


def markdown(report: Report, picture_path: str, level: int) -> list[str]:
    """The lines of a section."""
    lines = [f"{'#' * level} {report.table.title}", "", f"Rows: `{report.table.folder}`.", ""]
    lines += markdown_lib.table(_COLUMNS, _cells(report))
    lines += ["", report.agrees]
    if report.table.picture != "none" and any(line.figures for line in report.lines):
        lines += ["", f"![{report.table.title}]({picture_path})"]
    if report.verdicts:
        lines += ["", *markdown_lib.table(_VERDICT_COLUMNS, _verdict_cells(report))]
    return lines + (["", report.table.note] if report.table.note else [])


def _cells(report: Report) -> list[list[object]]:
    return [line.cells for line in report.lines]


def _verdict_cells(report: Report) -> list[list[object]]:
    """A line a comparison, the claim and its verdict before the first."""
    return [
        [
            found.claim.text if first else "",
            found.verdict if first else "",
            one.text,
            one.difference,
            one.error,
        ]
        for found in report.verdicts
        for first, one in zip((True, *(False,) * len(found.comparisons)), found.comparisons, strict=False)
    ]


def _sections(report: Report, drawn: bytes | None) -> list[page.Section]:
    content: list[str | page.Table | page.Picture] = [page.Table(_COLUMNS, _cells(report)), report.agrees]
    if drawn:
        content.append(page.Picture(drawn, report.table.title))
    sections = [page.Section("Rows", content)]
    if report.verdicts:
        judged = page.Table(_VERDICT_COLUMNS, _verdict_cells(report))
        sections.append(page.Section("Claims", [judged, report.table.note]))
    return sections


def write_page(reports: Sequence[Report], path: epath.Path) -> None:
    """Writes all tables as one Markdown file, the pictures into a folder of its name beside it."""
    folder = path.with_suffix("")
    for report in reports:
        if drawn := picture(report):
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / f"{report.table.name}.png", drawn)
    write_whole(path, page_text(reports, folder.name))


def page_text(reports: Sequence[Report], folder: str) -> str:
    """The Markdown of `write_page`, with pictures in `folder`."""
    begun = [report for report in reports if any(line.figures for line in report.lines)]
    sections = [markdown(report, f"{folder}/{report.table.name}.png", level=2) for report in begun]
    lines = [_HEAD, *(line for section in sections for line in ("", *section))]
    if waiting := [report.table.name for report in reports if report not in begun]:
        lines += ["", f"Not run yet: {', '.join(waiting)}."]
    return "\n".join(lines) + "\n"
