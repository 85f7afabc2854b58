"""Self-contained HTML pages."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd

from g5.web import page

EVIL = "<script>alert('ä & \"b\"')</script>"


class Strict(HTMLParser):
    """Collects tags and text; knows which tags are still open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data


def parsed(content: str) -> Strict:
    parser = Strict()
    parser.feed(content)
    assert not parser.open
    return parser


def test_everything_is_escaped():
    frame = pd.DataFrame({EVIL: [EVIL, "Rotkehlchen"], "share": [0.5, np.nan], "n": [1, 2]})
    content = page.page(
        EVIL,
        EVIL,
        page.heading(EVIL),
        page.paragraph(EVIL, class_="soft"),
        page.bullets([EVIL]),
        page.facts({EVIL: EVIL}),
        page.details(EVIL, EVIL),
        page.table(frame, {"share": ".1%"}),
        page.figure(b"png", EVIL),
        page.grid(page.card(page.sound_tile(b"png", EVIL, b"mp3"), EVIL)),
    )
    seen = parsed(content)
    assert content.count("<script>") == 1
    # title, heading, paragraphs and so on: text, every one of them.
    assert seen.text.count(EVIL) == 15
    assert [attrs["alt"] for tag, attrs in seen.tags if tag == "img"] == [EVIL, EVIL]
    assert "50.0%" in seen.text
    assert "nan" not in seen.text


def test_no_network_and_nothing_that_print_would_miss():
    content = page.page("t", page.figure(b"png", "c"), page.audio(b"mp3"))
    seen = parsed(content)
    for _, attrs in seen.tags:
        assert all(attrs[key].startswith("data:") for key in ("src", "href") if key in attrs)
    assert not re.search(r"https?://", content)
    assert "default-src 'none'" in content
    assert 'preload="none"' in content
    assert "lazy" not in content


def test_text_and_markup_are_told_apart():
    assert page.text("a<b") == "a&lt;b"
    assert page.text(page.Html("<b>x</b>")) == "<b>x</b>"
    assert page.element("td", "1", class_="number", data_row="3") == (
        '<td class="number" data-row="3">1</td>'
    )


def test_table_formats_cells():
    frame = pd.DataFrame(
        {"label": ["x", None], "p": [0.12345, 1e6], "ok": [True, False], "n": [10, 2]}
    )
    html = page.table(frame, {"n": ",d"})
    assert html.count('class="number"') == 6  # p and n, with their heads
    assert "0.123" in html
    assert "<td></td>" in html


def test_pages_are_written_whole(tmp_path):
    # A file name of bytes that are no UTF-8.
    path = page.write_page(tmp_path / "page.html", page.page("t", "caf\udce9"))
    assert "caf?" in path.read_text("utf-8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]


def test_budget():
    budget = page.Budget(0.001 / (1 - page.TEXT))
    assert budget.take(b"x" * 300, b"y" * 300)
    assert budget.left == 200
    assert not budget.take(b"x" * 160)
    assert budget.take(b"x" * 150)
    assert budget.left == 0
