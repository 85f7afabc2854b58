"""Pages in a real Chromium: legible in every colour scheme, printed, and on a telephone."""

import io

import pandas as pd
from PIL import Image

from g5.web import page as pages
from g5.web.axis import FrequencyAxis
from tests.browser import MARKS, assert_legible

pytestmark = MARKS


def test_everything_that_pages_are_made_of_is_legible(browser, tmp_path):
    png = io.BytesIO()
    Image.new("RGB", (256, 112), "black").save(png, "PNG")
    table = pd.DataFrame({"species": ["an owl of a rather long name"] * 3, "F": [0.1, 0.2, 0.3]})
    tile = pages.sound_tile(png.getvalue(), "A call", None, (FrequencyAxis(0, 11025, True), 1.5))
    content = pages.page(
        "A title_of_one_word_that_is_far_too_long_to_stand_in_a_window_of_this_width",
        pages.facts({"accuracy": "46.3 %", "chance": "10 %"}),
        *(pages.paragraph(f"text {kind}", kind) for kind in ("", "soft", "good", "bad")),
        pages.heading("A heading"),
        pages.bullets(["one", "two"]),
        pages.table(table),
        pages.details("Details", pages.table(table)),
        pages.figure(png.getvalue(), "A caption"),
        pages.grid(*[pages.card(tile)] * 3),
    )
    pages.write_page(tmp_path / "page.html", content)
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    told = page.locator(".axes").first.locator("span").all_inner_texts()
    assert told == ["10 kHz", "5", "2", "1", "0.5", "0.5 s", "1 s", "1.5 s"]
    assert_legible(page)
