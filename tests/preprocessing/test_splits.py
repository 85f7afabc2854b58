"""Splits: groups stay whole, classes keep their shares, what cannot be is said; split files."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from g5.common.errors import UserError
from preprocessing.datasets import ClipsData
from preprocessing.datasets.splits import distribution, make_splits, read_list, split_hash_of
from tests.conftest import run_g5


def clips(n_classes=4, sources=10, takes=3, seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        (f"c{c}/s{s}_{t}.wav", f"class{c}", f"source{c}_{s}", f"site{rng.integers(6)}")
        for c in range(n_classes)
        for s in range(sources)
        for t in range(rng.integers(1, takes + 1))
    ]
    return pd.DataFrame(rows, columns=["file", "label", "source", "site"])


def split(table, **settings):
    defaults = {"by": None, "stratify": True, "val": 0.2, "test": 0.2, "folds": None, "seed": 0}
    return make_splits(table, **(defaults | settings))


@settings(max_examples=25, deadline=None)
@given(
    by=st.sampled_from([None, "source", "site", "recording", "label"]),
    stratify=st.booleans(),
    folds=st.sampled_from([None, 3]),
    seed=st.integers(0, 1000),
)
def test_groups_stay_whole_and_everything_is_somewhere(by, stratify, folds, seed):
    table = clips(n_classes=6, seed=seed)
    made = split(table, by=by, stratify=stratify, folds=folds, seed=seed)
    assert made.table["file"].tolist() == table["file"].tolist()
    assert set(made.table["split"]) == {"train", "val", "test"}
    columns = ["split"] + (["fold"] if folds else [])
    if folds:
        assert sorted(made.table["fold"].unique()) == [0, 1, 2]
    if by is not None:
        group = "file" if by == "recording" else by
        for column in columns:
            assert np.all(made.table.groupby(group)[column].nunique() == 1)
    again = split(table, by=by, stratify=stratify, folds=folds, seed=seed)
    assert again.hash == made.hash
    pd.testing.assert_frame_equal(again.table, made.table)


@pytest.mark.parametrize("by", [None, "source"])
def test_shares_and_strata(by):
    table = clips(n_classes=3, sources=40)
    made = split(table, by=by, val=0.1, test=0.3, folds=5)
    for name, share in (("test", 0.3), ("val", 0.1)):
        found = np.mean(made.table["split"].to_numpy() == name)
        assert found == pytest.approx(share, abs=0.03)
    counts = distribution(made.table)
    for name in ("val", "test"):
        of_class = counts[name].to_numpy() / counts.to_numpy().sum(1)
        assert np.ptp(of_class) < 0.06
    by_fold = distribution(made.table, "fold").to_numpy()
    assert np.ptp(by_fold, axis=1).max() <= 2
    assert set(split(table, by=by, test=0, val=0.2).table["split"]) == {"train", "val"}


def test_another_seed_is_another_split_and_folders_are_not_hashed():
    table = clips()
    assert split(table, seed=1).hash != split(table, seed=2).hash
    moved = table.assign(file="elsewhere/" + table["file"])
    assert split(moved).hash == split(table).hash


def test_classes_that_share_a_source_stay_together():
    table = clips(n_classes=5)
    table.loc[table["label"].isin(["class1", "class4"]), "source"] = "one"
    for seed in range(8):
        parts = split(table, by="label", seed=seed).table.groupby("label")["split"].first()
        assert str(parts["class1"]) == str(parts["class4"])


def test_a_missing_class_is_named_with_the_reason():
    table = clips(n_classes=3)
    single = pd.DataFrame([("x.wav", "rare", "r", "site0")], columns=list(table))
    one_source = clips(n_classes=1, sources=4).assign(label="local", source="here")
    table = pd.concat([table, single, one_source], ignore_index=True)
    made = split(table, by="source", folds=4)
    rare = next(line for line in made.warnings if "'rare'" in line)
    assert "it has 1 clip" in rare
    assert "folds" in rare
    local = next(line for line in made.warnings if "'local'" in line)
    assert "all of one source" in local
    plain = split(table)
    assert any("'rare' is missing from val and test: it has 1 clip" in w for w in plain.warnings)
    assert any("sources have clips in several splits" in w for w in plain.warnings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"by": "where"}, "--by where: no such column; there are file"),
        ({"by": "site"}, r"site is empty in row 3, 4 "),
        ({"by": "source", "folds": 99}, "--folds: 99 parts, but only 40 values"),
        ({"by": "label", "folds": 5}, "only 4 values of label"),
        ({"folds": 1}, "at least 2"),
        ({"val": 0.5, "test": 0.5}, "leave nothing for training"),
        ({"val": -0.1}, "must be a share"),
        ({"val": 0.0, "test": 0.01}, "too little to hold every one of 4 classes"),
    ],
)
def test_what_cannot_be_is_an_error(change, words):
    table = clips()
    table.loc[[1, 2], "site"] = " "
    with pytest.raises(UserError, match=words):
        split(table, **change)


# --- files ------------------------------------------------------------------------------------


@pytest.fixture
def listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = clips(n_classes=6, sources=4, takes=2)
    rng = np.random.default_rng(0)
    for file in table["file"]:
        path = tmp_path / "audio" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.normal(0, 0.1, 800), 8000)
    table.to_csv(tmp_path / "audio" / "clips.csv", index=False)
    return tmp_path


def load(root, **settings):
    defaults = {
        "root": str(root), "audio_dir": None, "split": "auto", "val_classes": 0.2,
        "test_classes": 0.2, "fold": None, "folds": 3, "seed": 0, "anchor": "centre",
        "cache_dir": None, "columns": None,
    }  # fmt: skip
    return ClipsData(**(defaults | settings)).load()


@pytest.mark.usefixtures("drawn_figures")
def test_the_verb_writes_a_file_that_g5_reads(listed, capsys):
    command = ["data", "split", "audio/clips.csv", "--by", "label", "--folds", "3"]
    assert run_g5([*command, "-o", "made/split.csv"]) == 0
    out = capsys.readouterr().out
    assert "fold 2" in out
    assert "class5" in out
    assert (listed / "made" / "split.png").stat().st_size > 1000
    digest = split_hash_of(listed / "made" / "split.csv")
    assert digest is not None
    assert f"split_hash {digest}" in out
    corpus = load(listed / "made" / "split.csv")
    corpus.raise_if_fatal()
    assert corpus.split_file == digest
    made = read_list(listed / "made" / "split.csv")
    assert set(corpus.labels("test")) == set(made.loc[made["split"] == "test", "label"])
    # Every class is the test of one fold.
    tested = []
    for fold in range(3):
        part = load(listed / "made" / "split.csv", fold=fold, folds=5)
        part.raise_if_fatal()
        assert set(part.labels("test")) == set(made.loc[made["fold"] == str(fold), "label"])
        assert part.labels("val")
        assert part.split_hash != corpus.split_hash
        tested += part.labels("test")
    assert sorted(tested) == sorted(made["label"].unique())
    with pytest.raises(UserError, match="folds are 0 to 2"):
        load(listed / "made" / "split.csv", fold=3)


def test_a_split_is_recorded_where_there_is_an_mlflow(listed, monkeypatch, capsys):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    command = ["data", "split", "audio/clips.csv", "-o", "split.csv"]
    assert run_g5(command) == 0
    assert not (listed / "mlflow.db").exists()
    client = MlflowClient(f"sqlite:///{listed}/mlflow.db")
    client.search_experiments()  # makes it
    assert run_g5([*command, "--no-mlflow"]) == 0
    assert client.get_experiment_by_name("split") is None
    assert run_g5(command) == 0
    assert "MLflow  experiment split in mlflow.db" in capsys.readouterr().out
    experiment = client.get_experiment_by_name("split")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.tags["split_file"] == split_hash_of(listed / "split.csv")
    assert run.data.metrics["clips/train"] > 0
    assert {i.path for i in client.list_artifacts(run.info.run_id)} == {
        "split.csv",
        "figures",
        "images",
    }
    # What MLflow refuses costs nothing but its record.
    (listed / "mlflow.db").write_text("no database")
    assert run_g5(command) == 0
    assert "cannot be used" in capsys.readouterr().err


def test_folds_without_a_split_file_are_by_class(listed):
    tested = []
    for fold in range(3):
        corpus = load(listed / "audio" / "clips.csv", fold=fold)
        corpus.raise_if_fatal()
        tested += corpus.labels("test")
        assert corpus.split_file is None
    assert len(tested) == len(set(tested)) == 6
    problems = [str(p) for p in load(listed / "audio" / "clips.csv", fold=0, folds=9).problems]
    assert any("only 6 classes" in text for text in problems)
    with pytest.raises(UserError, match=r"data\.folds=2"):
        load(listed / "audio" / "clips.csv", folds=2)
    with pytest.raises(UserError, match=r"data\.fold: .*data\.split=test"):
        load(listed / "audio" / "clips.csv", fold=0, split="test")


def test_a_changed_split_file_is_refused(listed):
    assert run_g5(["data", "split", "audio/clips.csv", "-o", "split.csv"]) == 0
    text = (listed / "split.csv").read_text()
    (listed / "split.csv").write_text(text.replace(",test,", ",train,", 1))
    with pytest.raises(UserError, match="was changed since g5 data split wrote it"):
        load(listed / "split.csv")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "cannot be read as a CSV"),
        ("file,label\n", "lists no clips"),
        ("name,label\na,b\n", "no column file"),
        ("file,label\na,\n", "label is empty in row 2"),
        (None, "there is no such file"),
    ],
)
def test_bad_lists(tmp_path, content, words, capsys):
    path = tmp_path / "list.csv"
    if content is not None:
        path.write_text(content)
    assert run_g5(["data", "split", str(path), "-o", str(tmp_path / "split.csv")]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "split.csv").exists()
