"""Several labels a clip, from the table to predictions: thresholds and figures of each class."""

import numpy as np
import pandas as pd
import pytest

from g5.common.errors import UserError
from g5.transfer.heads.folds import folds_by_source
from g5.transfer.heads.saved import load_head, make_head, save_head
from g5.transfer.heads.summaries import as_events, best_classes, labelled
from g5.transfer.heads.thresholds import DEFAULT, best_threshold, class_table, told
from g5.transfer.label_table import read_labels
from g5.transfer.labels import Examples
from tests.conftest import run_g5
from tests.labelled_store import kind_of, make_store

WITH_TIMES = "file,start_time,end_time,owl,wren\na.wav,0,3,1,0\na.wav,3,6,0,0\nb.wav,0,3,1,1\n"
TABLES = {
    "semicolons": "file,start_s,end_s,label\na.wav,0,3,owl\na.wav,3,6,\nb.wav,0,3,owl;wren\n",
    "one-hot": WITH_TIMES,
    "true and false": WITH_TIMES.replace(",1", ",True").replace(",0\n", ",False\n"),
    "a row a label": (
        "file,start_s,end_s,label\na.wav,0,3,owl\na.wav,3,6,nocall\nb.wav,0,3,owl\nb.wav,0,3,wren\n"
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_several_labels_a_row_say_the_same(kind, tmp_path):
    (tmp_path / "l.csv").write_text(TABLES[kind])
    table = read_labels(tmp_path / "l.csv", "multi")
    assert table["label"].tolist() == ["owl", "", "owl;wren"]
    assert table[["start_s", "end_s"]].values.tolist() == [[0, 3], [3, 6], [0, 3]]


def test_one_hot_of_whole_recordings(tmp_path):
    (tmp_path / "l.csv").write_text("file,owl,wren\na.wav,1,0\nb.wav,1,1\nc.wav,0,0\n")
    assert read_labels(tmp_path / "l.csv", "multi")["label"].tolist() == ["owl", "owl;wren", ""]
    with pytest.raises(UserError, match="it needs `file` and `label`"):
        read_labels(tmp_path / "l.csv", "single")


def test_a_threshold_parts_where_f1_is_highest():
    p_N = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.3, 0.2, 0.1])
    true_N = np.array([1, 1, 1, 1, 1, 0, 0, 0], bool)
    assert best_threshold(true_N, p_N) == pytest.approx(0.45)
    assert best_threshold(true_N, np.where(true_N, p_N / 10, 0.0)) == pytest.approx(0.03)
    assert best_threshold(true_N[:4], p_N[:4]) == DEFAULT  # four decide nothing
    assert best_threshold(np.ones(6, bool), np.full(6, 0.4)) == pytest.approx(0.2)


def test_figures_of_a_class_are_of_folds_it_was_not_trained_on():
    rng = np.random.default_rng(0)
    x_ND, source_N = rng.standard_normal((90, 8)).astype(np.float32), np.repeat(range(9), 10)
    y_NC = (rng.random((90, 2)) < [0.4, 0.5]).astype(int)
    x_ND[:, 0] += 6 * y_NC[:, 0]  # the second class cannot be heard
    one = Examples(
        x_ND, y_NC, ["heard", "mute"], source_N.astype(str), source_N.astype(str), np.arange(90), []
    )
    folds = folds_by_source(y_NC, one.groups, 3, by_class=False, seed=0)
    found = class_table(make_head("linear", "multi", seed=0), one, folds).set_index("label")
    assert found["labels"].tolist() == y_NC.sum(axis=0).tolist()
    assert found.at["heard", "AP"] > 0.95
    assert found.at["heard", "F1"] > 0.85
    assert found.at["mute", "AP"] < 0.75
    assert 0 < found.at["heard", "threshold"] < 1
    assert told(found.reset_index()).splitlines()[1].startswith("mute")


def test_an_event_needs_its_threshold_and_the_likeliest_labels_are_told():
    table = pd.DataFrame({
        "file": "a", "start_s": [0.0, 1.0, 2.0], "end_s": [1.0, 2.0, 3.0],
        "p_owl": [0.9, 0.55, 0.6], "p_wren": [0.1, 0.45, 0.4],
    })  # fmt: skip
    said = labelled(table, "single")
    assert len(as_events(said, "single")) == 1
    assert as_events(said, "single", {"owl": 0.7})["end_s"].tolist() == [1.0]
    assert labelled(table, "multi", {"owl": 0.58, "wren": 0.3})["label"].tolist() == [
        "owl", "wren", "owl;wren",
    ]  # fmt: skip
    best = best_classes(said, 2)
    assert best["place"].tolist() == [1, 2] * 3
    assert best["label"].tolist()[:2] == ["owl", "wren"]
    assert best["probability"].tolist()[:2] == [0.9, 0.1]


@pytest.fixture
def birds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = make_store(tmp_path)
    rows = store.index[["file", "start_s", "end_s"]].astype({"file": str})
    kinds = [kind_of(row) for row in range(len(store))]
    for name in sorted(set(kinds)):
        rows[name] = [int(kind == name) for kind in kinds]
    rows.to_csv("labels.csv", index=False)
    return tmp_path


def test_several_labels_from_the_table_to_the_predictions(birds, capsys):
    command = ["classify", "birds.store", "--labels", "labels.csv", "-o", "x.head"]
    assert run_g5([*command, "classify.task=multi", "classify.heads=[linear]"]) == 0
    out = capsys.readouterr().out
    assert "class   labels     AP     F1  threshold" in out
    classes = pd.read_csv("x.classes.csv")
    assert classes["label"].tolist() == ["high", "low", "rising"]
    assert min(classes["AP"].tolist()) > 0.8
    head = load_head("x.head")
    assert head.thresholds == pytest.approx(classes.set_index("label")["threshold"].to_dict())
    predict = ["predict", "x.head", "birds.store", "-o"]
    assert run_g5([*predict, "w.csv", "--rows", "windows"]) == 0
    said = pd.read_csv("w.csv", keep_default_na=False)
    for name, threshold in head.thresholds.items():
        has = said["label"].str.contains(name)
        assert has.tolist() == (said[f"p_{name}"] >= threshold).tolist()
    head.thresholds.update(high=2.0)
    save_head("x.head", head)
    assert run_g5([*predict, "e.csv"]) == 0
    assert set(pd.read_csv("e.csv")["label"]) == {"low", "rising"}
    assert run_g5([*predict, "s.csv", "--scores", "2"]) == 0
    assert pd.read_csv("s.csv")["place"].tolist() == [1, 2] * len(said)
    assert run_g5([*predict, "a.csv", "--scores", "all", "--rows", "files"]) == 0
    assert {"p_high", "windows"} <= set(pd.read_csv("a.csv").columns)
    assert run_g5([*predict, "b.csv", "--scores", "2", "--rows", "events"]) == 1
    assert "an event has one label" in capsys.readouterr().err
