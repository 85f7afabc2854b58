"""The labelling page in a real Chromium: keys, reload, a killed server, two tabs."""

from pathlib import Path

import pandas as pd
import pytest

from g5.embeddings.vectors import VectorStore
from g5.web.journal import Journal
from preprocessing.annotations import read_events
from tests.browser import MARKS, Served, assert_accessible, until
from tests.conftest import run_g5
from tests.labelled_store import CLASSES, kind_of, make_store

pytestmark = MARKS


def served(folder: Path) -> Served:
    """`g5 label`."""
    return Served("label", str(folder / "birds.store"), "--classes", str(folder / "classes.txt"))


@pytest.fixture
def folder(tmp_path):
    make_store(tmp_path)
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return tmp_path


def label(page, count: int, done: int) -> None:
    """Label by keyboard, as somebody who knows; each key only when the clip is there."""
    for number in range(done, done + count):
        page.wait_for_selector(f"body[data-done='{number}']", timeout=20_000)
        row = int(page.get_attribute("body", "data-row"))
        page.keyboard.press(str(1 + CLASSES.index(kind_of(row))))
    page.wait_for_selector(f"body[data-done='{done + count}']", timeout=20_000)


def entries(folder: Path) -> dict:
    return Journal(folder / "birds.store").entries


def test_twenty_calls_by_keyboard_a_reload_and_a_killed_server(folder, browser, monkeypatch):
    server = served(folder)
    try:
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server.url)
        page.wait_for_selector("#stage .hz")
        ticks = page.locator("#stage span").all_inner_texts()
        assert [t for t in ticks if t.endswith(" kHz")]
        assert [t for t in ticks if t.endswith(" s")]
        assert_accessible(page)
        page.keyboard.press("a")
        label(page, 12, done=0)
        assert len(entries(folder)) == 12  # on the disk before the next clip shows
        page.reload()
        assert page.is_checked("#auto")
        label(page, 3, done=12)
        until(page, "document.getElementById('audio').currentTime > 0")
        server.kill()
        page.keyboard.press("1")
        page.wait_for_selector("text=Everything up to the last clip is saved", timeout=20_000)
        assert len(entries(folder)) == 15
    finally:
        server.kill()
    server = served(folder)
    try:
        page.goto(server.url)
        label(page, 5, done=15)
        page.keyboard.press("z")
        page.wait_for_selector("body[data-done='19']", timeout=20_000)
        page.keyboard.press("u")
        page.wait_for_selector("body[data-done='20']", timeout=20_000)
        page.keyboard.press("n")
        page.wait_for_selector("body[data-done='21']", timeout=20_000)
        page.keyboard.press("c")
        page.keyboard.type("whistle")
        page.keyboard.press("Enter")
        page.wait_for_selector("body[data-done='22']", timeout=20_000)
        page.wait_for_selector("#suggestions button", timeout=20_000)
        page.locator("#tile").evaluate("image => image.decode()")  # raises if it is no picture
        assert errors == []
    finally:
        server.kill()
    check_exports(folder, monkeypatch)


def check_exports(folder: Path, monkeypatch) -> None:
    store = VectorStore.open(folder / "birds.store")
    said = list(entries(folder).values())
    rows = {clip: row for row, clip in enumerate(clips(store))}
    right = [e for e in said if e.kind == "label" and e.label != "whistle"]
    assert all(e.label == kind_of(rows[e.clip]) for e in right)
    assert len(right) == 19
    assert [e.kind for e in said[19:]] == ["unsure", "not a call", "label"]
    monkeypatch.chdir(folder)
    assert run_g5(["label", "birds.store", "--export", "raven", "-o", "tables"]) == 0
    assert run_g5(["label", "birds.store", "--export", "csv", "-o", "out.csv"]) == 0
    assert run_g5(["label", "birds.store", "--export", "audacity", "-o", "tracks"]) == 0
    tables = [read_events(path)[0] for path in (folder / "tables").iterdir()]
    for events in (pd.concat(tables), read_events(folder / "out.csv")[0]):
        assert len(events) == 22
        assert sorted(events["status"]) == ["NEG"] + ["POS"] * 20 + ["UNK"]
    assert sum(len(read_events(path)[0]) for path in (folder / "tracks").iterdir()) == 22


def clips(store: VectorStore) -> list:
    from g5.web.journal import clip_of

    index = store.index
    return [clip_of(*c) for c in zip(index["file"], index["start_s"], index["end_s"], strict=True)]


def test_two_tabs_do_not_clobber_each_other(folder, browser):
    server = served(folder)
    try:
        one, two = browser.new_page(), browser.new_page()
        one.goto(server.url)
        two.goto(server.url)
        for page in (one, two):
            page.wait_for_selector("body[data-done='0']", timeout=20_000)
        assert one.get_attribute("body", "data-row") != two.get_attribute("body", "data-row")
        one.keyboard.press("1")
        one.wait_for_selector("body[data-done='1']", timeout=20_000)
        two.keyboard.press("2")
        two.wait_for_selector("body[data-done='2']", timeout=20_000)
        assert sorted(e.label for e in entries(folder).values()) == ["high", "low"]
    finally:
        server.kill()


def test_a_held_key_and_the_enter_of_a_composition_label_nothing_unseen(folder, browser):
    server = served(folder)
    try:
        page = browser.new_page()
        page.goto(server.url)
        page.wait_for_selector("body[data-done='0']", timeout=20_000)
        page.click("#find")
        page.evaluate(
            "() => { const box = document.getElementById('find'); box.value = 'フク';"
            " for (const said of [{isComposing: true}, {keyCode: 229}]) box.dispatchEvent("
            " new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, ...said})); box.blur(); }"
        )
        for number in (1, 2):
            for _ in range(10):  # the first press, then the browser's repeats
                page.keyboard.down(str(number))
                page.wait_for_timeout(40)
            page.keyboard.up(str(number))
            page.wait_for_selector(f"body[data-done='{number}']", timeout=20_000)
        page.wait_for_timeout(300)
        assert [entry.label for entry in entries(folder).values()] == list(CLASSES[:2])
        assert Journal(folder / "birds.store").classes == []
    finally:
        server.kill()


def test_keys_zoom_and_play(folder, browser):
    server = served(folder)
    try:
        page = browser.new_page()
        page.goto(server.url)
        label(page, 6, done=0)
        until(page, "state.curve.length > 0 && points !== null", pause_ms=100)
        source = "document.getElementById('tile').src"
        before = page.evaluate(source)
        page.keyboard.press("+")
        assert "zoom=1&" in page.evaluate(source) != before
        page.keyboard.press("f")
        assert "band=0.5" in page.evaluate(source)
        page.keyboard.press("Space")
        until(page, "document.getElementById('audio').currentTime > 0", pause_ms=100)
        legend, panel = (page.locator(name).bounding_box() for name in ("#legend", "#map"))
        assert legend["x"] + legend["width"] <= panel["x"] + panel["width"] + 1
    finally:
        server.kill()


@pytest.mark.parametrize("dims", [2, 3])
def test_a_map_shows_and_plays_what_is_under_the_mouse(folder, browser, monkeypatch, dims):
    monkeypatch.chdir(folder)
    command = ["map", "birds.store", "--beside", "birds.store", "-o", "map.html"]
    assert run_g5([*command, f"map.dims={dims}", "map.tiles=60"]) == 0
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((folder / "map.html").as_uri())
    assert_accessible(page)
    page.evaluate("HTMLMediaElement.prototype.play = async function() { window.heard = this.src }")
    x, y = page.evaluate(
        "() => { const v = views[1], box = v.canvas.getBoundingClientRect();"
        " return [box.left + v.x[7], box.top + v.y[7]]; }"
    )
    page.mouse.move(x, y)
    assert page.locator("#tip").is_visible()
    assert "rec" in page.locator("#tip div").inner_text()
    page.locator("#tip img").evaluate("image => image.decode()")  # raises if it is no picture
    page.mouse.click(x, y)
    assert page.evaluate("window.heard").startswith("data:audio/mpeg;base64,")
    assert errors == []
