"""A review without a browser: what is next, what is written down, what is refused."""

import numpy as np
import pytest

from g5.config.settings import load_transfer
from g5.detection.review.session import ReviewSession
from g5.detection.review.table import COMMAND, REVIEWS, FoundEvents
from g5.web.journal import Journal
from preprocessing.annotations import read_events, write_events
from tests.conftest import run_g5
from tests.detection.review.found import is_call, make_found


def session(folder) -> ReviewSession:
    return ReviewSession(FoundEvents.read(folder), load_transfer(reads=()).review)


@pytest.fixture
def found(tmp_path):
    return make_found(tmp_path)


def say(review: ReviewSession, row: int, kind: str = "label", label: str = "up", **more) -> str:
    count = len(review.journal.entries)
    return review.answer("t", row, kind, label, id=f"a{count}", seconds=1, by="sample", **more)


def test_a_table_of_answers_that_a_kill_kept_from_being_written_is_written_at_the_next_start(found):
    say(session(found), 0)
    whole = (found / "reviewed.csv").read_bytes()
    (found / "reviewed.csv").unlink()
    session(found).begin()
    assert (found / "reviewed.csv").read_bytes() == whole


def test_answers_are_on_the_disk_and_in_the_table(found):
    review = session(found)
    rows = review.drawn(5, "sample")
    say(review, rows[0])
    say(review, rows[1], "not a call")
    say(review, rows[2], "unsure")
    say(review, rows[3], label="wren")
    file, start_s, end_s = review.found.clips[rows[4]]
    say(review, rows[4], ends=(start_s + 0.01, end_s - 0.02))
    assert review.mark("t", rows[0], 1.0, 1.2, "up", id="m") == ""
    events, problems = read_events(found / "reviewed.csv")
    assert not problems
    assert sorted(events["status"]) == ["NEG"] + ["POS"] * 4 + ["UNK"]
    assert events.query("status != 'POS'")["label"].tolist() == ["up", "up"]
    moved = events.loc[np.isclose(events["start_s"], start_s + 0.01) & (events["file"] == file)]
    assert moved["end_s"].tolist() == pytest.approx([end_s - 0.02])
    (one,) = session(found).state()["species"]
    assert (one["yes"], one["no"], one["unsure"], one["done"]) == (2, 2, 1, 5)
    assert session(found).state()["marks"] == 1
    review.undo("t")
    assert session(found).state()["marks"] == 0
    assert len(read_events(found / "reviewed.csv")[0]) == 5


def test_a_sample_says_the_precision(found):
    review = session(found)
    truth = [is_call(file, start_s) for file, start_s, _ in review.found.clips]
    upcoming = None
    for _ in range(30):
        row, following = review.next("t", "sample", "")
        say(review, row, *(("label", "up") if truth[row] else ("not a call", "")))
        assert upcoming in (row, None), "what was announced is what comes"
        upcoming = following
    (one,) = review.state()["species"]
    assert one["low"] <= np.mean(truth) <= one["high"]
    assert one["hourly"] == pytest.approx(48 / (4 * 19 / 3600))
    assert one["to_halve"] > 0


def test_orders(found):
    review = session(found)
    score_N = review.found.events["score"].to_numpy()
    assert review.next("t", "score", "up")[0] == score_N.argmax()
    uncertain = review.next("t", "uncertain", "")[0]
    assert score_N[uncertain] < np.median(score_N)
    files = [review.found.clips[row][0] for row in review.drawn(16, "sample")]
    assert len(set(files)) == 4, "spread over recordings"
    assert review.next("other tab", "uncertain", "")[0] != uncertain


def test_what_cannot_be_is_refused(found, tmp_path, capsys):
    assert run_g5(["review", str(tmp_path / "recordings")]) == 1
    assert "has no predictions.csv" in capsys.readouterr().err
    review = session(found)
    say(review, 0)
    say(review, 1, "not a call")
    with Journal(found, REVIEWS, COMMAND).alone():
        assert run_g5(["review", str(found), "--no-browser"]) == 1
    assert "another g5 review is at work here" in capsys.readouterr().err
    events, _ = read_events(found / "predictions.csv")
    # Fewer events, and the answered ones among them: that is no other table.
    write_events(events.iloc[:20], found / "predictions.csv", "csv")
    assert session(found).state()["done"] == 2
    events.loc[0, "start_s"] += 0.05
    write_events(events, found / "predictions.csv", "csv")
    assert run_g5(["review", str(found), "--no-browser"]) == 1
    error = capsys.readouterr().err
    assert "1 of 2 answered ones no longer there" in error
    assert "Traceback" not in error
    assert len(Journal(found, REVIEWS).entries) == 2, "nothing is lost"
