"""What is wrong with a corpus: each finder on a case worked by hand, and the printed report."""

import numpy as np
import pandas as pd
import pytest

from preprocessing import check
from preprocessing.events import CORPUS_COLUMNS, RECORDING_COLUMNS, Corpus, Problem


def rows(*events: tuple[float, float], **columns) -> pd.DataFrame:
    """Events of class "wren" in a.wav, read from rows 2, 3, ... of a.csv."""
    table = pd.DataFrame(events, columns=["start_s", "end_s"]).assign(
        file="a.wav", label="wren", status="POS", split="train", source="a.wav", table="a.csv"
    )
    return table.assign(row=np.arange(len(table)) + 2, **columns)


def places(problems: list[Problem]) -> list[tuple[str, str, bool]]:
    return [(problem.kind, problem.where, problem.fatal) for problem in problems]


def test_events_are_cut_to_the_recording():
    table = rows((0, 1), (9, 11), (10, 12), (-2, 1), (-2, -1), (3, 3), (5, 4), (9.5, 10.0005))
    kept, problems = check.inside(table, {"a.wav": 10.0})
    assert list(zip(kept["row"], kept["start_s"], kept["end_s"], strict=True)) == [
        (2, 0, 1), (3, 9, 10), (5, 0, 1), (9, 9.5, 10),
    ]  # fmt: skip
    assert places(problems) == [
        ("negative", "a.csv, row 8", True),
        ("zero-length", "a.csv, row 7", False),
        ("past-end", "a.csv, rows 4, 6", False),  # wholly outside: dropped
        ("past-end", "a.csv, row 5", False),
        ("past-end", "a.csv, row 3", False),
    ]


def test_a_clip_is_as_long_as_its_recording():
    kept, problems = check.inside(rows((0, np.nan)), {"a.wav": 2.5})
    assert list(kept["end_s"]) == [2.5]
    assert problems == []


def test_unsorted_rows_are_told_per_recording():
    assert check.unsorted(rows((0, 1), (2, 3), (2, 4))) == []
    assert check.unsorted(rows((5, 6), (0, 1), file=["a.wav", "b.wav"])) == []
    found = check.unsorted(rows((5, 6), (0, 1), (7, 8), (6, 7)))
    assert places(found) == [("unsorted", "a.csv, rows 3, 5", False)]


def test_repeated_rows_count_once():
    kept, problems = check.without_duplicates(rows((0, 1), (0, 1), (0, 2)))
    assert list(kept["row"]) == [2, 4]
    assert places(problems) == [("duplicate-row", "a.csv, row 3", False)]
    assert check.without_duplicates(rows((0, 1), (0, 1), label=["wren", "tit"]))[1] == []
    assert check.without_duplicates(rows((0, 1), (0, 1), split=["train", "test"]))[1] == []


def test_overlaps_are_told_within_a_class():
    assert check.overlaps(rows((0, 1), (1, 2), (2, 3))) == []
    assert check.overlaps(rows((0, 2), (1, 3), label=["wren", "tit"])) == []
    assert check.overlaps(rows((0, 2), (1, 3), status=["POS", "UNK"])) == []
    assert check.overlaps(rows((0, 2), (1, 3), file=["a.wav", "b.wav"])) == []
    # The third lies in the long first one, though not in the second.
    found = check.overlaps(rows((0, 10), (1, 2), (5, 6), (10, 11)))
    assert places(found) == [("overlap", "a.csv, rows 3, 4", False)]


def test_equal_bytes_across_splits_are_fatal_and_name_both():
    files = pd.DataFrame(
        [("a.wav", "1", "train"), ("b.wav", "1", "test"), ("c.wav", "2", "train"),
         ("d.wav", "2", "train"), ("e.wav", "3", "val"), ("f.wav", "4", "train"),
         ("f.wav", "4", "val")],
        columns=["file", "sha256", "split"],
    )  # fmt: skip
    found = check.duplicate_bytes(files)
    assert places(found) == [
        ("duplicate-bytes", "a.wav", True),
        ("duplicate-bytes", "d.wav", False),
        ("duplicate-bytes", "f.wav", True),
    ]
    assert "byte for byte b.wav (test)" in found[0].message
    assert "byte for byte c.wav" in found[1].message
    assert "in train and in val" in found[2].message


def test_classes_and_sources_belong_to_one_split():
    table = rows((0, 1), (0, 1), (0, 1), label=["wren", "wren", "tit"], source=["s", "t", "t"])
    table = table.assign(split=["train", "test", "test"], file=["a.wav", "b.wav", "b.wav"])
    (problem,) = check.leaks(table, "label")
    assert (problem.kind, problem.where, problem.fatal) == ("split-leak", "class 'wren'", True)
    assert "train (a.wav) and in test (b.wav)" in problem.message
    assert check.leaks(table, "source") == []
    assert check.leaks(table.assign(source="s"), "source")[0].where == "source 's'"
    assert check.leaks(table.assign(status=["POS", "NEG", "POS"]), "label") == []


@pytest.fixture
def corpus() -> Corpus:
    """6 wrens, 3 tits and an unsure call in 2 recordings for training; 4 robins for the test."""
    labels = ["wren"] * 6 + ["tit"] * 3 + ["wren"] + ["robin"] * 4
    n = np.arange(len(labels), dtype=np.float64)
    events = pd.DataFrame({"start_s": n, "end_s": n + 0.5, "label": labels}).assign(
        file=["a.wav"] * 5 + ["b.wav"] * 5 + ["c.wav"] * 4,
        status=["POS"] * 9 + ["UNK"] + ["POS"] * 4,
        split=["train"] * 10 + ["test"] * 4,
        source=["a.wav"] * 5 + ["b.wav"] * 5 + ["c.wav"] * 4,
    )
    recordings = pd.DataFrame(
        [("a.wav", 1800.0, 22050, 1, 1800 * 22050, "a", "train", "a.wav"),
         ("b.wav", 1800.0, 44100, 2, 1800 * 44100, "b", "train", "b.wav"),
         ("c.wav", 900.0, 22050, 1, 900 * 22050, "c", "test", "c.wav")],
        columns=RECORDING_COLUMNS,
    )  # fmt: skip
    problems = (Problem("overlap", "b.csv, row 3", "overlaps", False),)
    return Corpus(events.loc[:, CORPUS_COLUMNS], recordings, problems)


def test_classes_too_small_for_an_episode(corpus: Corpus):
    assert check.few_calls(corpus, n_way=1, k_shot=2, n_query=1) == []
    found = check.few_calls(corpus, n_way=2, k_shot=3, n_query=1)
    assert places(found) == [
        ("few-calls", "class 'tit'", False),
        ("few-classes", "train", True),
        ("few-classes", "test", True),
    ]
    assert "has 3 calls in train, and an episode takes 3 + 1" in found[0].message
    assert "has 1 class with at least 4 calls, and an episode takes 2" in found[1].message


def test_report_prints_what_is_there_and_every_problem(corpus: Corpus):
    text = check.report(corpus, n_way=2, k_shot=3, n_query=1)
    lines = [line.strip() for line in text.splitlines()]
    assert "train: 2 recordings, 60 min, 2 classes, 9 calls, 1 UNK" in lines
    assert "val: no recordings" in lines
    assert "test: 1 recording, 15 min, 1 class, 4 calls" in lines
    assert "rate: 22050 Hz (1), 44100 Hz (1)" in lines
    assert ["wren", "6", "2"] in [line.split() for line in lines]
    assert ["tit", "3", "1"] in [line.split() for line in lines]
    assert any("min 0.5" in line and "median 0.5" in line for line in lines)
    assert "2 errors (training stops), 2 warnings" in lines
    first_warning = next(n for n, line in enumerate(lines) if line.startswith("warning"))
    assert all(not line.startswith("error") for line in lines[first_warning:])
    assert "warning [overlap] b.csv, row 3: overlaps" in lines


def test_report_of_a_corpus_without_problems(corpus: Corpus):
    text = check.report(Corpus(corpus.events, corpus.recordings, ()), n_way=1, k_shot=1, n_query=1)
    assert text.endswith("no problems")
