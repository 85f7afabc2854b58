"""Answers go back into the next detection, by hand or from a page that was mailed."""

from pathlib import Path

import pandas as pd
import pytest

from g5.config.settings import load, load_transfer
from g5.detection.job.asked import reviewed_thresholds
from g5.detection.review.answers import changes, learned_support
from g5.detection.review.session import ReviewSession
from g5.detection.review.table import FoundEvents
from preprocessing.annotations import read_events, write_events
from tests.conftest import run_g5
from tests.detection.review.found import is_call, make_found
from tests.detection.soundscapes import CALLS_S, audacity

QUIET = "detection.pictures=false"


def answer_all(found: Path, count: int) -> ReviewSession:
    """As somebody who knows; the last one is called something else."""
    review = ReviewSession(FoundEvents.read(found), load_transfer(reads=()).review)
    for number, row in enumerate(review.drawn(count, "sample")):
        file, start_s, _ = review.found.clips[row]
        label = "rain" if number == count - 1 else "up"
        kind = "label" if label == "rain" or is_call(file, start_s) else "not a call"
        review.answer("t", row, kind, label, id=str(number), seconds=1, by="sample")
    return review


def test_the_next_detection_learns_from_yes_no_and_marks(job, tmp_path, capsys):
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:3]})
    assert job("night.wav", "--support", "calls.txt", "-o", "found", QUIET) == 0
    shots, _ = read_events(tmp_path / "found/support.csv")
    assert shots["start_s"].tolist() == CALLS_S[:3]
    assert [Path(file).is_absolute() for file in shots["file"]] == [True] * 3
    review = answer_all(tmp_path / "found", 4)
    review.mark("t", 0, 24.6, 24.9, "up", id="missed")
    events, _ = learned_support(tmp_path / "found")
    assert set(CALLS_S[:3]) <= set(events["start_s"]), "the first shots stay"
    assert events.query("label == 'rain'")["status"].tolist() == ["NEG"], "no species to look for"
    assert 24.6 in events.query("status == 'POS'")["start_s"].tolist()
    found = tmp_path / "found/predictions.csv"
    table = pd.read_csv(found)
    table.to_csv(found, index=False)
    assert not FoundEvents.read(tmp_path / "found").changed, "the same in other words"
    answered = {clip[1] for clip in review.journal.entries}
    starts, own = table["start_s"].round(6).tolist(), table["support"].tolist()
    row = next(i for i, start in enumerate(starts) if start not in answered and not own[i])
    table.loc[row, ["start_s", "end_s"]] += 0.01
    table.to_csv(found, index=False)
    capsys.readouterr()
    assert run_g5(["review", "found", "--page", "page.html"]) == 0
    changed = "has changed since g5 detect wrote it; "
    assert f"{changed}the events of now are reviewed" in capsys.readouterr().err
    assert job("night.wav", "--support", "found", "-o", "found2", QUIET) == 0
    told, noted = capsys.readouterr()
    assert f"{changed}what is learnt is in support.csv and the answers" in noted
    assert not FoundEvents.read(tmp_path / "found2").changed
    assert "of no call, from 5 answers" in told
    assert "changed    up: " in told
    # What sounds alike was said to be a call and to be none.
    assert set(pd.read_csv("found2/predictions.csv")["label"]) <= {"up"}
    again, _ = read_events(tmp_path / "found2/support.csv")
    assert len(again) == len(events), "the next support holds the first and the answers"
    assert job("night.wav", "--support", "found", "-o", "found", QUIET) == 1
    assert "is an input" in capsys.readouterr().err
    assert job("night.wav", "--support", str(tmp_path), QUIET) == 1
    assert "is a folder without support.csv" in capsys.readouterr().err


def test_a_precision_is_asked_for_before_a_review_and_after_it(job, tmp_path, capsys):
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:3]})
    command = ["night.wav", "--support", "calls.txt", QUIET]
    assert job(*command, "-o", "found") == 0
    assert job(*command, "-o", "sure", "detection.precision=0.95") == 0
    told = capsys.readouterr().err
    assert "up: for a precision of 0.95 events need a score of " in told
    assert "extrapolated from 3 shots" in told
    assert job(*command, "detection.precision=0.9", "detection.recall=0.9") == 1
    assert "ask for one of them" in capsys.readouterr().err
    assert job(*command, "-o", "e", "detection=energy", "detection.recall=0.9") == 1
    assert "the shots have no say in this detection's threshold" in capsys.readouterr().err
    answer_all(tmp_path / "found", 4)
    capsys.readouterr()
    assert job("night.wav", "--support", "found", "-o", "f2", QUIET, "detection.recall=0.5") == 0
    said = capsys.readouterr()
    assert "threshold  up: a score of " in said.out
    assert "by 4 answers, of the events that were reviewed" in said.out
    assert "extrapolated" not in said.err
    reviewed_thresholds(tmp_path / "found", load(["detection.precision=0.05"]).detection)
    assert "a lower detection.threshold finds more to review" in capsys.readouterr().out
    assert job("night.wav", "--support", "found", "-o", "f3", "detection.precision=0.99999") == 1
    assert "no threshold gives it for up" in capsys.readouterr().err


def test_what_changed_is_counted_by_overlap():
    def table(*starts: float) -> pd.DataFrame:
        rows = [("a.wav", start, start + 1, "up") for start in starts]
        return pd.DataFrame(rows, columns=["file", "start_s", "end_s", "label"])

    told = changes(table(0, 5, 9), table(0.5, 9, 20, 30))
    assert told == "changed    up: 3 events before, 4 now; 2 gained, 1 lost"
    assert "1 now; 1 gained, 0 lost" in changes(table(), table(3))


def saved(review: ReviewSession, path: Path, rows: list[int]) -> Path:
    """What the mailed page saves: the first row yes with its end moved, the others no."""
    head = "file,start_s,end_s,label,status,found_label,found_start_s,found_end_s,shown_by,answer,"
    lines = [head + "seconds"]
    for number, row in enumerate(rows):
        file, start_s, end_s = review.found.clips[row]
        status, end = ("NEG", end_s) if number else ("POS", end_s + 0.1)
        name = Path(file).name
        lines.append(
            f"{name},{start_s},{end},up,{status},up,{start_s},{end_s},sample,x-{number},1.5"
        )
    path.write_text("\n".join(lines) + "\n")
    return path


def test_answers_of_a_mailed_page_are_entered_once(tmp_path, capsys):
    found = make_found(tmp_path)
    review = ReviewSession(FoundEvents.read(found), load_transfer(reads=()).review)
    rows = review.drawn(3, "sample")
    table = saved(review, tmp_path / "answers.csv", rows)
    for _ in range(2):
        assert run_g5(["review", str(found), "--answers", str(table)]) == 0
    out = capsys.readouterr().out
    assert "3 answers of" in out
    assert "up: 3 of 48 answered; precision" in out
    events, _ = read_events(found / "reviewed.csv")
    assert sorted(events["status"]) == ["NEG", "NEG", "POS"]
    moved = events.query("status == 'POS'").iloc[0]
    assert moved["end_s"] - moved["start_s"] == pytest.approx(0.4)
    assert Path(moved["file"]).is_absolute()
    # As a support, without the folder.
    plain, problems = read_events(table)
    assert len(plain) == 3
    assert not problems
    table.write_text(table.read_text().replace("POS,up,", "POS,down,").replace("NEG,up,", "NEG,a,"))
    assert run_g5(["review", str(found), "--answers", str(table)]) == 1
    assert "not among the events of" in capsys.readouterr().err
    assert run_g5(["review", str(found), "--answers", str(found / "reviewed.csv")]) == 1
    assert "has no column found_label" in capsys.readouterr().err


def test_answers_to_events_that_are_gone_are_told_and_the_others_taken(tmp_path, capsys):
    found = make_found(tmp_path)
    review = ReviewSession(FoundEvents.read(found), load_transfer(reads=()).review)
    rows = review.drawn(3, "sample")
    table = saved(review, tmp_path / "answers.csv", rows)
    events, _ = read_events(found / "predictions.csv")
    events.loc[rows[1], "start_s"] += 0.01
    write_events(events, found / "predictions.csv", "csv")
    assert run_g5(["review", str(found), "--answers", str(table)]) == 0
    told = capsys.readouterr().out
    assert "2 answers of" in told
    assert "; 1 left out (" in told
    assert "has the table changed since?" in told
