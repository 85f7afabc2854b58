"""The corpus: its splits, labels, hashes and the error it raises."""

import numpy as np
import pandas as pd
import pytest

from g5.common.errors import UserError
from preprocessing.events import CORPUS_COLUMNS, RECORDING_COLUMNS, Corpus, Problem, at_rows


def corpus(folder: str = "/data", **changes) -> Corpus:
    events = pd.DataFrame(
        [
            (f"{folder}/a.wav", 0.0, 1.0, "wren", "POS", "train", "a"),
            (f"{folder}/a.wav", 2.0, 3.0, "robin", "POS", "train", "a"),
            (f"{folder}/a.wav", 4.0, 5.0, "wren", "UNK", "train", "a"),
            (f"{folder}/b.wav", 0.5, 0.7, "tit", "POS", "val", "b"),
            (f"{folder}/b.wav", 0.8, 0.9, "wren", "NEG", "val", "b"),
        ],
        columns=CORPUS_COLUMNS,
    )
    recordings = pd.DataFrame(
        [
            (f"{folder}/a.wav", 10.0, 22050, 1, 220500, "aa", "train", "a"),
            (f"{folder}/b.wav", 1.0, 22050, 1, 22050, "bb", "val", "b"),
        ],
        columns=RECORDING_COLUMNS,
    )
    return Corpus(**{"events": events, "recordings": recordings, "problems": (), **changes})


def test_split_holds_the_calls_numbered_and_classed():
    table = corpus().split("train")
    assert list(table.index) == [0, 1]
    assert list(table["label"]) == ["wren", "robin"]
    assert list(table["class_id"]) == [1, 0]
    assert list(table["sha256"]) == ["aa", "aa"]
    assert corpus().labels("train") == ["robin", "wren"]
    assert corpus().labels("val") == ["tit"]
    assert corpus().split("test").empty


def test_the_test_may_be_the_validation_set():
    both = corpus(test_is_val=True)
    pd.testing.assert_frame_equal(both.split("test"), both.split("val"))
    assert both.labels("test") == ["tit"]


def test_hashes_do_not_depend_on_place_or_order():
    one, other = corpus("/data"), corpus("/elsewhere")
    assert one.data_hash == other.data_hash
    assert one.split_hash == other.split_hash
    turned = corpus(events=one.events.iloc[::-1].reset_index(drop=True))
    assert one.data_hash == turned.data_hash
    assert len(one.data_hash) == len(one.split_hash) == 16


@pytest.mark.parametrize(
    ("column", "value", "split_too"),
    [("start_s", 0.25, False), ("status", "UNK", False), ("label", "owl", True),
     ("split", "test", True)],
)  # fmt: skip
def test_hashes_see_every_change_of_an_event(column: str, value: object, split_too: bool):
    events = corpus().events
    events.loc[0, column] = value
    changed = corpus(events=events)
    assert changed.data_hash != corpus().data_hash
    assert (changed.split_hash != corpus().split_hash) == split_too


def test_hashes_see_the_bytes_of_a_recording_without_calls():
    recordings = corpus().recordings
    more = pd.concat([recordings, recordings.iloc[:1].assign(file="/data/c.wav", sha256="cc")])
    assert corpus(recordings=more).data_hash != corpus().data_hash
    assert corpus(recordings=more).split_hash == corpus().split_hash


def test_fatal_problems_stop_with_the_first_few():
    problems = [Problem("k", f"f{n}.csv", f"wrong {n}", n != 1) for n in range(6)]
    with pytest.raises(UserError) as error:
        corpus(problems=tuple(problems)).raise_if_fatal()
    text = str(error.value)
    assert text.startswith("5 problems in the data: f0.csv: wrong 0; f2.csv: wrong 2; f3.csv:")
    assert "and 2 more" in text
    assert "g5 data check" in text
    assert "f1.csv" not in text
    assert "\n" not in text
    corpus(problems=(problems[1],)).raise_if_fatal()


def test_rows_are_named_once_and_counted():
    assert at_rows("a.csv", [0]) == "a.csv"
    assert at_rows("a.csv", np.array([7, 7])) == "a.csv, row 7"
    assert at_rows("a.csv", [9, 2]) == "a.csv, rows 2, 9"
    assert at_rows("a.csv", range(2, 12)) == "a.csv, rows 2, 3, 4, 5, 6 and 5 more"
