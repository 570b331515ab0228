"""A run's report: one HTML file that holds its tables and pictures and refers to nothing outside."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from typing import NamedTuple

from tf_simclr.files import write_whole


class Table(NamedTuple):
    """Rows of cells under column names, where there are any; None is a dash, a list its items.

    Floats are shown with two decimals, small ones (rates, p-values) with three digits.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


class Picture(NamedTuple):
    """A PNG or SVG file's bytes and the sentence below it, which also describes it to screen readers."""

    data: bytes
    caption: str


class Section(NamedTuple):
    """A heading and what stands below it in order: text (a paragraph each), tables, pictures."""

    heading: str
    content: Sequence[str | Table | Picture]


def write_report(path: str | os.PathLike[str], title: str, sections: Sequence[Section]) -> None:
    """Writes the report, replacing an older one at once: a reader never sees half a file.

    Args:
      path: of the HTML file; its folder exists.
      title: shown and named in the browser's tab. It, like all text, may hold any characters.
      sections: in order.
    """
    body = "\n".join(_section(section) for section in sections)
    write_whole(path, document(title, _STYLE, body))


def document(title: str, style: str, body: str) -> str:
    """A whole HTML page; `title` is any text, `style` CSS, `body` HTML."""
    return _PAGE.format(title=html.escape(title), style=style, body=body)


def _section(section: Section) -> str:
    content = "\n".join(_item(item) for item in section.content)
    return f"<section>\n<h2>{html.escape(section.heading)}</h2>\n{content}\n</section>"


def _item(item: str | Table | Picture) -> str:
    if isinstance(item, Table):
        return _table(item)
    if isinstance(item, Picture):
        return _picture(item)
    return f"<p>{html.escape(item)}</p>"


def _table(table: Table) -> str:
    names = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    head = f"<thead><tr>{names}</tr></thead>\n" if any(table.columns) else ""
    rows = "\n".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in table.rows)
    table_html = f"<table>\n{head}<tbody>\n{rows}\n</tbody>\n</table>"
    return f'<div class="scroll">{table_html}</div>'


def _cell(value: object) -> str:
    if value is None:
        return '<td class="number">&ndash;</td>'
    number = isinstance(value, int | float) and not isinstance(value, bool)
    kind = ' class="number"' if number else ""
    return f"<td{kind}>{html.escape(_text(value))}</td>"


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 1 or not value else f"{value:.3g}"
    return str(value)


def _picture(picture: Picture) -> str:
    kind = "png" if picture.data.startswith(b"\x89PNG") else "svg+xml"
    caption = html.escape(picture.caption)
    source = f"data:image/{kind};base64,{base64.b64encode(picture.data).decode()}"
    return f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


_STYLE = """
:root { color-scheme: light dark;
  --text: #1f2328; --quiet: #59636e; --page: #fff; --line: #d1d9e0; --band: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --quiet: #9198a1; --page: #0d1117; --line: #3d444d; --band: #151b23; }
}
body { color: var(--text); background: var(--page); font: 16px/1.5 system-ui, sans-serif; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.25; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h1, h2, p, td, figcaption { overflow-wrap: anywhere; }
p { white-space: pre-line; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: 1rem 0; }
th, td { padding: .35rem .8rem; text-align: left; border-bottom: 1px solid var(--line); }
th { color: var(--quiet); font-weight: 600; }
tbody tr:nth-child(even) { background: var(--band); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0 1.5rem; }
img { max-width: 100%; background: #fff; border-radius: 6px; }
figcaption { color: var(--quiet); font-size: .9rem; }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
