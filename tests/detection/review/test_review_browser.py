"""The review page in a real Chromium: keys, ends, marks, and a killed server."""

from pathlib import Path

import pytest

from g5.detection.review.table import COMMAND, REVIEWS
from g5.web.journal import Journal, JournalEntry
from preprocessing.annotations import read_events
from tests.browser import MARKS, Served, assert_accessible, until
from tests.conftest import run_g5
from tests.detection.review.found import is_call, make_found

pytestmark = MARKS
# Whether an event has a sound, and what Space plays while the next one's is not there yet.
HEARD = """() => {
  const sound = () => $('audio').getAttribute('src'), before = sound();
  show({state, event: shown, upcoming});
  document.dispatchEvent(new KeyboardEvent('keydown', {key: ' ', code: 'Space', bubbles: true}));
  return [!!before, sound()];
}"""


@pytest.fixture
def found(tmp_path) -> Path:
    return make_found(tmp_path)


def entries(found: Path) -> list[JournalEntry]:
    return list(Journal(found, REVIEWS, COMMAND).entries.values())


def seen(page) -> int:
    """Wait until the event's picture is there; its row."""
    row = page.get_attribute("body", "data-row")
    page.wait_for_selector(f"body[data-seen='{row}']", timeout=20_000)
    return int(row)


def press(page, key: str, done: int) -> None:
    """Answer, and wait for the picture of the next event."""
    seen(page)
    page.keyboard.press(key)
    page.wait_for_selector(f"body[data-done='{done}']", timeout=20_000)
    seen(page)


def drag(page, selector: str, dx: int) -> None:
    box = page.locator(selector).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y, steps=4)
    page.mouse.up()


def opened(browser, url: str, errors: list[str]):
    page = browser.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    page.wait_for_selector("body[data-done]", timeout=20_000)
    assert_accessible(page)
    return page


def test_a_review_by_keyboard_a_reload_and_a_killed_server(found, browser):
    errors: list[str] = []
    server = Served("review", str(found))
    try:
        page = opened(browser, server.url, errors)
        seen(page)
        assert page.evaluate(HEARD) == [True, None]
        for done in range(1, 11):
            event = page.evaluate("[shown.file, shown.start_s]")
            yes = is_call(str(found.parent / "recordings" / event[0]), event[1])
            press(page, "y" if yes else "n", done)
            # The next one's picture and sound are fetched before it is asked for.
            assert page.evaluate("ready.has(upcoming.row)")
        assert len(entries(found)) == 10
        press(page, "u", 11)
        page.reload()
        page.wait_for_selector("body[data-done='11']", timeout=20_000)
        press(page, "z", 10)
        page.wait_for_selector("aside b")
        assert "calls" in page.locator("aside").inner_text()
        server.kill()
        page.keyboard.press("y")
        page.wait_for_selector("text=Everything up to the last clip is saved", timeout=20_000)
        assert len(entries(found)) == 10
        assert errors == []
    finally:
        server.kill()
    events, _ = read_events(found / "reviewed.csv")
    called = [
        is_call(str(file), start_s)
        for file, start_s in zip(events["file"], events["start_s"], strict=True)
    ]
    assert (events["status"] == "POS").tolist() == called


def test_ends_are_dragged_calls_marked_and_named(found, browser):
    errors: list[str] = []
    server = Served("review", str(found))
    try:
        page = opened(browser, server.url, errors)
        seen(page)
        drag(page, "#end", 40)
        drag(page, "#start", -25)
        press(page, "y", 1)
        (first,) = entries(found)
        assert first.ends is not None
        assert first.ends[0] < first.clip[1]
        assert first.ends[1] > first.clip[2]
        page.keyboard.press("m")
        stage = page.locator("#stage").bounding_box()
        page.mouse.move(stage["x"] + 20, stage["y"] + 30)
        page.mouse.down()
        page.mouse.move(stage["x"] + 120, stage["y"] + 40, steps=4)
        page.mouse.up()
        page.wait_for_selector("body[data-marks='1']")
        marked = entries(found)[-1]
        assert (marked.kind, marked.label, marked.of, marked.by) == ("label", "up", "", "mark")
        page.keyboard.press("o")
        page.keyboard.type("wren")
        page.keyboard.press("Enter")
        page.wait_for_selector("body[data-done='2']")
        assert (entries(found)[-1].label, entries(found)[-1].of) == ("wren", "up")
        before = seen(page)
        page.keyboard.press("+")
        page.keyboard.press("f")
        page.select_option("#order", "score")
        until(page, f"document.body.dataset.row !== '{before}'")
        seen(page)  # its sound comes with its picture, and would end what plays before
        page.keyboard.press("Space")
        until(page, "document.getElementById('audio').currentTime > 0")
        assert errors == []
    finally:
        server.kill()


def test_a_mailed_page_saves_what_g5_reads(found, browser, tmp_path):
    assert run_g5(["review", str(found), "--page", str(tmp_path / "review.html")]) == 0
    errors: list[str] = []
    page = opened(browser, (tmp_path / "review.html").as_uri(), errors)
    page.on("request", lambda request: errors.append(request.url))
    for done in range(1, 6):
        event = page.evaluate("[shown.file, shown.start_s]")
        yes = is_call(str(found.parent / "recordings" / event[0]), event[1])
        if done == 3:
            seen(page)
            told = page.locator("#stage span").all_inner_texts()
            assert sum(text.endswith(" kHz") for text in told) >= 3
            assert sum(text.endswith(" s") for text in told) >= 2
            drag(page, "#end", 30)
        press(page, "y" if yes else "n", done)
    press(page, "z", 4)
    press(page, "u", 5)
    with page.expect_download() as waited:
        page.keyboard.press("s")
    waited.value.save_as(tmp_path / "answers.csv")
    assert not [url for url in errors if not url.startswith(("data:", "blob:"))]
    assert run_g5(["review", str(found), "--answers", str(tmp_path / "answers.csv")]) == 0
    assert len(entries(found)) == 5
    events, _ = read_events(found / "reviewed.csv")
    assert events["status"].tolist().count("UNK") == 1
    for event in events.query("status != 'UNK'").to_dict("records"):
        assert (str(event["status"]) == "POS") == is_call(str(event["file"]), event["start_s"])
