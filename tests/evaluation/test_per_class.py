"""Remedies for imbalance, each with its effect shown class by class: table, figure and command."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from g5.embeddings.vectors import VectorStore
from g5.evaluation.report.per_class import most_different, recall_figure, recall_table, told
from g5.transfer.heads.imbalance import imbalance_strategies
from tests.conftest import run_g5
from tests.labelled_store import facts

COUNTS = {"common": 120, "some": 24, "rare": 8}


@pytest.fixture
def uneven(tmp_path, monkeypatch):
    """A store of three overlapping classes of very different sizes, from four sources."""
    rng = np.random.default_rng(0)
    labels = np.repeat(list(COUNTS), list(COUNTS.values()))
    centre = {name: 0.35 * rng.standard_normal(16) for name in COUNTS}
    x = np.stack([centre[name] + rng.standard_normal(16) for name in labels])
    index = pd.DataFrame(
        {
            "file": [f"{n}.wav" for n in range(len(labels))],
            "start_s": 0.0, "end_s": 0.3, "source": [f"s{n % 4}" for n in range(len(labels))],
            "date": "",
        }
    )  # fmt: skip
    store = VectorStore.create(tmp_path / "birds.store", facts(), audio_root=tmp_path)
    store.ingest(x.astype(np.float32), index)
    table = pd.DataFrame({"file": index["file"], "label": labels, "source": index["source"]})
    table.to_csv(tmp_path / "labels.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("head", ["linear", "logistic"])
@pytest.mark.usefixtures("drawn_figures")
def test_every_strategy_is_shown_class_by_class(uneven, capsys, head):
    command = ["classify", "birds.store", "--labels", "labels.csv", "--balance", "-o", "x.head"]
    assert run_g5([*command, f"classify.heads=[{head}]"]) == 0
    out = capsys.readouterr().out
    table: Any = pd.read_csv("x.balance.csv")
    assert table["label"].tolist() == ["rare", "some", "common"]
    assert table["trained_on"].tolist() == table["queries"].tolist() == [8, 24, 120]
    ways = list(imbalance_strategies(head))
    assert list(table.columns[3:]) == ways
    assert ways[0] == "none"
    for way in ways[1:]:
        assert table[way][0] > table["none"][0], way
        assert table[way][2] < table["none"][2], way
        assert way in out
    assert (uneven / "x.balance.png").stat().st_size > 1000
    assert "rarest first" in out


def test_each_head_has_the_strategies_it_can_have():
    assert (
        len(imbalance_strategies("mlp"))
        == len(imbalance_strategies("tests.user_encoders.GoodHead"))
        == 6
    )
    assert list(imbalance_strategies("forest"))[1] == "class weights"
    assert list(imbalance_strategies("knn")) == [
        "none",
        "oversampling",
        "undersampling",
        "both samplings",
    ]


def test_what_has_no_classes_cannot_be_balanced(uneven, capsys):
    command = ["classify", "birds.store", "--labels", "labels.csv", "classify.task=multi"]
    assert run_g5([*command, "--balance"]) == 1
    assert "--balance: task=multi" in capsys.readouterr().err
    one = "classify.heads=[linear]"
    assert run_g5([*command, one, "head.sampling=over"]) == 1
    assert "task=single only" in capsys.readouterr().err
    single = command[:-1]
    assert run_g5([*single, "classify.heads=[forest]", "head.sampling=up"]) == 1
    assert "must be one of none, over, under, both" in capsys.readouterr().err


@pytest.mark.usefixtures("drawn_figures")
def test_a_recall_table_by_hand(tmp_path):
    true = np.array(["a", "a", "a", "b", "c", "c"])
    answers = {
        "first": (true, np.array(["a", "a", "b", "b", "a", "a"])),
        "second": (true[:4], np.array(["a", "b", "b", "b"])),
    }
    table = recall_table(answers, trained_on={"a": 9, "b": 1, "c": 4})
    assert table["label"].tolist() == ["b", "c", "a"]
    assert table["queries"].tolist() == [1, 2, 3]
    assert table["first"].tolist() == pytest.approx([1, 0, 2 / 3])
    assert table["second"].fillna(-1).tolist() == pytest.approx([1, -1, 1 / 3])
    assert most_different(table, 1)["label"].tolist() == ["a"]
    text = told(table, 2)
    assert "1 more classes" in text
    assert text.splitlines()[-2].split() == ["mean", "55.6%", "66.7%"]
    assert recall_figure(table, tmp_path / "x.png", title="$x").stat().st_size > 1000
    assert recall_table(answers)["label"].tolist() == ["a", "b", "c"]
