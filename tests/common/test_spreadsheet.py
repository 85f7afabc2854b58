"""No text of a CSV is a formula to a spreadsheet, and all texts come back."""

import csv

import pandas as pd
import pytest

from g5.common.spreadsheet import guarded, unguarded, write_csv
from preprocessing.annotations import read_events, write_events

TEXTS = ["=cmd|'/c calc'!A0", "+1+1", "-call", "@SUM(1)", "'-x", "'Akekee", "''=1", "owl", ""]


@pytest.mark.parametrize("text", [*TEXTS, "-37.5", "+1e-3"])
def test_any_text_comes_back(text):
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in "=@" or not text


def test_numbers_stay_numbers():
    assert guarded("-37.5") == "-37.5"
    assert guarded("+1e-3") == "+1e-3"


def test_tables_are_written_so(tmp_path):
    table = pd.DataFrame({"=label": TEXTS, "score": -1.5, "n": -1})
    table["kind"] = pd.Categorical(TEXTS)
    write_csv(table, tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="") as handle:
        header, *rows = csv.reader(handle)
    assert header == ["'=label", "score", "n", "kind"]
    assert [unguarded(row[0]) for row in rows] == TEXTS
    assert rows[0] == [f"'{TEXTS[0]}", "-1.5", "-1", f"'{TEXTS[0]}"]


def test_labels_of_events_come_back(tmp_path):
    labels = [text for text in TEXTS if text]
    events = pd.DataFrame(
        {"file": "-night.wav", "start_s": range(len(labels)), "end_s": 1.0, "label": labels}
    ).assign(end_s=lambda rows: rows["start_s"] + 0.5, status="POS")
    write_events(events, tmp_path / "e.csv", "csv")
    assert not any(line.split(",")[3][0] in "=+-@" for line in _lines(tmp_path / "e.csv"))
    again = read_events(tmp_path / "e.csv")[0]
    assert list(again["label"]) == labels
    assert set(again["file"]) == {"-night.wav"}


def _lines(path):
    return path.read_text().splitlines()[1:]
