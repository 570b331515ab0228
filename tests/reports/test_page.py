"""The report is one file, refers to nothing outside, and shows any text as it is."""

from __future__ import annotations

import base64
import html.parser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_simclr.reports.page import Picture, Section, Table, write_report

PNG = b"\x89PNG\r\n\x1a\nrest"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
VOID = {"meta", "img", "br", "input"}


class Reader(html.parser.HTMLParser):
    """Collects tags, attributes and text, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def read(path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader._open == []
    return reader


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "report.html"
    table = Table(["run", "top-1", "n"], [["ours", 91.234, 10_000], ["theirs", None, True]])
    sections = [
        Section("Result", ["All is well.", table]),
        Section("Pictures", [Picture(PNG, "a PNG"), Picture(SVG, "an SVG")]),
    ]
    write_report(path, "linear_eval: digits", sections)
    return path


def test_holds_tables_and_pictures(report):
    reader = read(report)
    assert reader.tags.count("h2") == 2
    assert "linear_eval: digits" in reader.texts
    cells = [text for text in reader.texts if text.strip()]
    for expected in ("All is well.", "91.23", "10000", "True", "–", "a PNG"):  # noqa: RUF001
        assert expected in cells
    sources = [value for name, value in reader.attributes if name == "src"]
    assert sources == [
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
        "data:image/svg+xml;base64," + base64.b64encode(SVG).decode(),
    ]


def test_refers_to_nothing_outside(report):
    reader = read(report)
    assert not {"script", "link", "iframe", "object", "a"} & set(reader.tags)
    text = report.read_text()
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text


@given(
    text=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])).filter(lambda text: text.strip())
)
def test_any_text_is_shown_as_it_is(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("report") / "report.html"
    hostile = f'{text}"><script>alert(1)</script>&amp;{{}}'
    content = [hostile, Table([hostile], [[hostile]]), Picture(PNG, hostile)]
    write_report(path, hostile, [Section(hostile, content)])
    reader = read(path)
    assert "script" not in reader.tags
    # title, h1, h2, paragraph, column, cell, caption, and the picture's description
    assert reader.texts.count(hostile) == 7
    assert ("alt", hostile) in reader.attributes


def test_an_older_report_is_replaced_and_nothing_is_left_over(report):
    write_report(report, "second", [])
    assert "second" in read(report).texts
    assert [path.name for path in report.parent.iterdir()] == ["report.html"]


def test_a_failed_report_leaves_the_older_one(report):
    before = report.read_bytes()
    with pytest.raises(AttributeError):
        write_report(report, "second", [Section("bad", [None])])
    assert report.read_bytes() == before
