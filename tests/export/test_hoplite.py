"""A store as a database of perch-hoplite and back, and a store in three lines of others' code."""

import json
import re
import sqlite3

import numpy as np
import pandas as pd
import pytest

from g5.embeddings.vectors import VectorStore, load
from tests.conftest import ROOT, run_g5
from tests.labelled_store import facts, make_store

ROWS = ["file", "start_s", "end_s", "label", "source", "date"]


def test_a_store_comes_back_from_a_database(tmp_path, capsys):
    pytest.importorskip("usearch.index")
    store = make_store(tmp_path, recordings=4)
    more = pd.DataFrame({
        "file": ["b/Tür.wav", "b/Tür.wav"], "start_s": [0.0, 0.3], "end_s": [0.3, 0.6],
        "label": ["owl;wren", "owl"], "source": ["", ""], "date": ["", ""],
    })  # fmt: skip
    store.ingest(np.full((2, 16), 0.25, np.float32), more)
    out = tmp_path / "db"
    assert run_g5(["export", str(store.path), "--hoplite", "-o", str(out)]) == 0
    assert "22 windows of 5 recordings, 2 with labels" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["hoplite.sqlite", "usearch.index"]
    assert run_g5(["import", str(out), "-o", str(tmp_path / "back.store")]) == 0
    given, back = VectorStore.open(store.path), VectorStore.open(tmp_path / "back.store")
    assert (np.asarray(back.vectors) == np.asarray(given.vectors)).all()
    texts = dict.fromkeys(("file", "label", "source", "date"), str)
    rows = [one.index[ROWS].astype(texts).to_numpy().tolist() for one in (given, back)]
    assert rows[0] == rows[1]
    with sqlite3.connect(out / "hoplite.sqlite") as database:
        said = dict(database.execute("SELECT key, value FROM hoplite_metadata"))
    assert json.loads(said["usearch_config"])["embedding_dim"] == 16
    assert run_g5(["export", str(store.path), "--hoplite", "-o", str(out)]) == 1
    assert "is there already" in capsys.readouterr().err


def test_a_store_without_vectors_is_no_database(tmp_path, capsys):
    pytest.importorskip("usearch.index")
    VectorStore.create(tmp_path / "empty.store", facts())
    command = ["export", str(tmp_path / "empty.store"), "--hoplite", "-o", str(tmp_path / "db")]
    assert run_g5(command) == 1
    assert "holds no vectors" in capsys.readouterr().err
    assert not (tmp_path / "db").exists()


def test_a_store_is_no_graph(tmp_path, capsys):
    VectorStore.create(tmp_path / "a.store", facts())
    assert run_g5(["export", str(tmp_path / "a.store"), "-o", str(tmp_path / "a.onnx")]) == 1
    assert "a.store: is a store, which --hoplite writes" in capsys.readouterr().err


def test_the_three_lines_of_the_documentation_open_a_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = make_store(tmp_path)
    page = (ROOT / "docs" / "embeddings.md").read_text()
    plain, opensoundscape = re.findall(r"```python\n(.*?)```", page, re.S)
    scope: dict = {}
    exec(plain, scope)
    assert np.load("birds.npy").shape == (len(store), 16)
    assert pd.read_parquet("birds.parquet")["file"].tolist() == load(store.path)[1]["file"].tolist()
    exec(opensoundscape, scope)
    clips = scope["clips"]
    assert clips.index.names == ["file", "start_time", "end_time"]
    assert clips.shape == (len(store), 16)
