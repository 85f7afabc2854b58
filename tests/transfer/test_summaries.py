"""Predictions of windows as files and as events."""

import pandas as pd

from g5.transfer.heads.summaries import as_events, by_file, labelled


def windows(**columns: list[float]) -> pd.DataFrame:
    times = pd.DataFrame({"start_s": [0.0, 1.0, 2.0, 0.0], "end_s": [1.0, 2.0, 3.0, 1.0]})
    return times.assign(file=["a", "a", "a", "b"], **columns)


def test_a_file_has_the_mean_of_its_windows():
    files = by_file(
        labelled(windows(p_owl=[0.9, 0.8, 0.1, 0.2], p_wren=[0.1, 0.2, 0.9, 0.8]), "single"),
        "single",
    )
    assert files["file"].tolist() == ["a", "b"]
    assert files["label"].tolist() == ["owl", "wren"]
    assert files["probability"].round(3).tolist() == [0.6, 0.8]
    assert files[["start_s", "end_s", "windows"]].values.tolist() == [[0, 3, 3], [0, 1, 1]]
    rated = by_file(windows(rating=[1.0, 2.0, 6.0, 4.0]), "rating")
    assert rated["rating"].tolist() == [3.0, 4.0]


def test_windows_that_touch_and_say_the_same_are_one_event():
    table = labelled(windows(p_owl=[0.9, 0.8, 0.1, 0.9], p_wren=[0.1, 0.2, 0.9, 0.1]), "single")
    assert as_events(table, "single").to_numpy().tolist() == [
        ["a", 0.0, 2.0, "owl", 0.9], ["a", 2.0, 3.0, "wren", 0.9], ["b", 0.0, 1.0, "owl", 0.9],
    ]  # fmt: skip
    apart = table.assign(start_s=[0.0, 1.5, 3.0, 0.0])
    assert len(as_events(apart, "single")) == 4


def test_several_labels_have_events_of_their_own():
    table = labelled(windows(p_owl=[0.9, 0.8, 0.1, 0.1], p_wren=[0.6, 0.2, 0.7, 0.1]), "multi")
    assert as_events(table, "multi").to_numpy().tolist() == [
        ["a", 0.0, 2.0, "owl", 0.9], ["a", 0.0, 1.0, "wren", 0.6], ["a", 2.0, 3.0, "wren", 0.7],
    ]  # fmt: skip
    assert by_file(table, "multi")["label"].tolist() == ["owl;wren", ""]
