"""Embeddings of other programs: every format comes out the same, and faults are named."""

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from g5.common.errors import UserError
from g5.embeddings.hoplite import _vectors
from g5.embeddings.importing import read_embeddings
from g5.embeddings.vectors import VectorStore
from tests.conftest import run_g5

X = np.arange(12, dtype=np.float32).reshape(3, 4) / 8
FILES = ["a/x.wav", "a/x.wav", "y.wav"]
STARTS = [0.0, 3.0, 0.0]


def write(kind, folder):
    path = folder / f"e.{kind}"
    base = pd.DataFrame({"Filename": FILES, "Start (s)": STARTS, "End (s)": np.add(STARTS, 3)})
    wide = base.assign(**{f"e{i}": X[:, i] for i in range(4)})
    if kind == "csv":
        wide.to_csv(path, index=False)
    elif kind == "tsv":  # one column of lists
        base.assign(embedding=[",".join(map(str, row)) for row in X]).to_csv(path, sep="\t")
    elif kind == "parquet":
        base.assign(embedding=list(X)).to_parquet(path)
    elif kind == "npz":
        np.savez(path, embeddings=X, filename=FILES, start=STARTS, end=np.add(STARTS, 3))
    elif kind == "npy":
        np.save(path, X)
        base.to_csv(folder / "e.csv", index=False)
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "npz", "npy"])
def test_every_format_gives_the_same(kind, tmp_path):
    found = read_embeddings(write(kind, tmp_path))
    np.testing.assert_array_equal(found.x_ND, X)
    assert found.index["file"].tolist() == FILES
    assert found.index["start_s"].tolist() == STARTS
    assert found.index["end_s"].tolist() == [3.0, 6.0, 3.0]


def test_columns_are_ordered_by_their_number(tmp_path):
    frame = pd.DataFrame({"file": ["a.wav"], **{f"e{i}": [float(i)] for i in (10, 2, 1, 0)}})
    frame.to_csv(tmp_path / "e.csv", index=False)
    assert read_embeddings(tmp_path / "e.csv").x_ND.tolist() == [[0, 1, 2, 10]]


def test_birdnet_text_and_npz(tmp_path):
    text = tmp_path / "rec.birdnet.embeddings.txt"
    text.write_text("0.0\t3.0\t1,2,3\n3.0\t6.0\t4,5,6\n")
    found = read_embeddings(text)
    assert found.index["file"].tolist() == ["rec", "rec"]
    assert found.x_ND[1].tolist() == [4, 5, 6]
    masked = np.zeros((2, 2, 4), bool)
    masked[1, 1] = True
    np.savez(
        tmp_path / "b.npz", embeddings=np.ones((2, 2, 4), np.float32), embeddings_masked=masked,
        inputs=["x.wav", "y.wav"], segment_duration_s=3.0, overlap_duration_s=1.0,
    )  # fmt: skip
    found = read_embeddings(tmp_path / "b.npz")
    assert found.index["file"].tolist() == ["x.wav", "x.wav", "y.wav"]
    assert found.index["start_s"].tolist() == [0, 2, 0]


def make_hoplite(folder, deployments=(("north", "p"),), names=("x.wav",)):
    """A database whose deployments have these files, two windows each, and an owl in the last."""
    folder.mkdir()
    with sqlite3.connect(folder / "hoplite.sqlite") as database:
        database.executescript(
            "CREATE TABLE deployments (id INTEGER PRIMARY KEY, name TEXT, project TEXT);"
            "CREATE TABLE recordings (id INTEGER PRIMARY KEY, filename TEXT, datetime TEXT,"
            " deployment_id INTEGER);"
            "CREATE TABLE windows (id INTEGER PRIMARY KEY, recording_id INTEGER, offsets BLOB);"
            "CREATE TABLE annotations (id INTEGER PRIMARY KEY, recording_id INTEGER,"
            " offsets BLOB, label TEXT, label_type INTEGER, provenance TEXT);"
        )
        add = "INSERT INTO {} VALUES ({})".format
        key, recording = 0, 0
        for place, (site, project) in enumerate(deployments, 1):
            database.execute(add("deployments", "?, ?, ?"), (place, site, project))
            for name in names:
                recording += 1
                facts = (recording, name, "2026-05-01T04:00:00", place)
                database.execute(add("recordings", "?, ?, ?, ?"), facts)
                for start_s in (0.0, 5.0):
                    key += 1
                    offsets = np.array([start_s, start_s + 5.0], "<f8").tobytes()
                    database.execute(add("windows", "?, ?, ?"), (key, recording, offsets))
        for stretch in ([5.0, 10.0], [6.0, 7.0]):
            said = (recording, np.array(stretch, "<f8").tobytes(), "owl", 1, "me")
            database.execute(add("annotations", "NULL, ?, ?, ?, ?, ?"), said)
    uindex = pytest.importorskip("usearch.index")
    index = uindex.Index(ndim=4, metric="ip", dtype="f16")
    index.add(np.arange(1, key + 1), np.random.default_rng(len(deployments)).random((key, 4)))
    index.save(str(folder / "usearch.index"))


def test_hoplite(tmp_path):
    make_hoplite(tmp_path / "db")
    index = pytest.importorskip("usearch.index").Index(ndim=4, metric="ip", dtype="f16")
    index.add(np.array([1, 2]), X[:2])
    index.save(str(tmp_path / "db" / "usearch.index"))
    found = read_embeddings(tmp_path / "db")
    np.testing.assert_allclose(found.x_ND, X[:2], atol=1e-3)
    assert found.index.to_dict("records")[1] == {
        "file": "x.wav", "start_s": 5.0, "end_s": 10.0, "label": "owl", "source": "north",
        "date": "2026-05-01",
    }  # fmt: skip
    assert found.notes == ["1 annotations are of no window and are left out"]


def files_of(path) -> dict[str, str]:
    """The source of each file of a store."""
    index = VectorStore.open(path).index.astype(str)
    return dict(zip(index["file"], index["source"], strict=True))


def test_files_of_several_deployments_do_not_collide(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_hoplite(tmp_path / "both", (("north", "p"), ("south", "p")), ("x.wav", "y.wav"))
    for new in (8, 0):
        assert run_g5(["import", "both", "-o", "b.store"]) == 0
        out = capsys.readouterr().out
        assert f"{new} of 8 vectors" in out
        assert "4 files called as others of another source" in out
        assert "x.wav from north is north/x.wav" in out
    expected = {
        f"{site}/{file}": site for site in ("north", "south") for file in ("x.wav", "y.wav")
    }
    assert files_of("b.store") == expected
    index = VectorStore.open("b.store").index.astype(str)
    assert index.loc[index["label"] == "owl", "file"].tolist() == ["south/y.wav"]

    # What is in the store keeps its name: a deployment that comes later, and one that is known.
    make_hoplite(tmp_path / "north")
    assert run_g5(["import", "north", "-o", "a.store"]) == 0
    assert files_of("a.store") == {"x.wav": "north"}
    make_hoplite(tmp_path / "south", (("other", "p"), ("south", "p")), ("x.wav",))
    for _ in range(2):
        assert run_g5(["import", "south", "-o", "a.store"]) == 0
    assert files_of("a.store") == {
        "x.wav": "north", "other/x.wav": "other", "south/x.wav": "south"
    }  # fmt: skip
    assert len(VectorStore.open("a.store")) == 6

    # A deployment of one name in two projects, whose files are below a folder of that name.
    make_hoplite(tmp_path / "same", (("north", "p"), ("north", "q")), ("north/x.wav",))
    assert run_g5(["import", "same", "-o", "c.store"]) == 0
    assert files_of("c.store") == {"p/north/x.wav": "p/north", "q/north/x.wav": "q/north"}


def test_a_name_that_stays_is_not_said_to_be_another(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_hoplite(tmp_path / "db", (("north", "p"), ("south", "p")), ("north/x.wav",))
    assert run_g5(["import", "db", "-o", "a.store"]) == 0
    assert files_of("a.store") == {"north/x.wav": "north", "south/north/x.wav": "south"}
    assert "1 file called as others of another source" in capsys.readouterr().out


def test_tables_of_two_sites_do_not_collide_and_a_corrected_site_is_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"file": "x.wav", "start": [0.0, 3.0], "site": "a", "e0": [1, 2], "e1": 3})
    table.to_csv("a.csv", index=False)
    table.assign(site="corrected").to_csv("again.csv", index=False)
    table.assign(site="b", e1=4).to_csv("b.csv", index=False)
    for name, files in (
        ("a.csv", {"x.wav": "a"}),
        ("again.csv", {"x.wav": "a"}),
        ("b.csv", {"x.wav": "a", "b/x.wav": "b"}),
    ):
        assert run_g5(["import", name, "-o", "s.store"]) == 0
        assert files_of("s.store") == files
    assert len(VectorStore.open("s.store")) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE windows SET offsets = x''", "a window's offsets are b''"),
        ("UPDATE windows SET offsets = x'000000'", "a window's offsets are b'\\x00"),
        ("UPDATE windows SET offsets = 'soon'", "a window's offsets are 'soon'"),
        ("UPDATE recordings SET filename = NULL", "row 1: names no file"),
        ("DELETE FROM windows", "has no embeddings"),
        ("DROP TABLE deployments", "no such table: deployments"),
    ],
)
def test_faults_of_a_hoplite_database_are_named(change, words, tmp_path):
    make_hoplite(tmp_path / "db")
    with sqlite3.connect(tmp_path / "db" / "hoplite.sqlite") as database:
        database.execute(change)
    with pytest.raises(UserError) as caught:
        read_embeddings(tmp_path / "db")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        (np.array([5.0], "<f2"), (5.0, np.nan)),
        (np.array([5.0], "<f4"), (5.0, np.nan)),
        (np.array([5.0], "<f8"), (5.0, np.nan)),
        (np.array([5.0, 10.0], "<f8"), (5.0, 10.0)),
    ],
)
def test_offsets_of_windows_have_any_width(offsets, expected, tmp_path):
    make_hoplite(tmp_path / "db")
    with sqlite3.connect(tmp_path / "db" / "hoplite.sqlite") as database:
        database.execute("UPDATE windows SET offsets = ?", (offsets.tobytes(),))
    index = read_embeddings(tmp_path / "db").index
    np.testing.assert_array_equal(index[["start_s", "end_s"]].to_numpy(), [expected, expected])


def test_deployments_without_a_name_or_a_project(tmp_path):
    make_hoplite(tmp_path / "db", ((None, "P1"), (None, None), ("site", "P1"), ("site", None)))
    sources = read_embeddings(tmp_path / "db").index["source"].tolist()
    assert sources[::2] == ["P1", "", "P1/site", "site"]


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        (np.array([5.0], "<f2"), (5.0, np.nan)),
        (np.array([5.0, 10.0], "<f2"), (5.0, 10.0)),
        (np.array([5.0, 10.0], "<f4"), (5.0, 10.0)),
        (np.array([5.0, 10.0], "<f8"), (5.0, 10.0)),
    ],
)
def test_hoplite_with_the_vectors_in_sqlite(offsets, expected, tmp_path):
    with sqlite3.connect(tmp_path / "h.sqlite") as database:
        database.executescript(
            "CREATE TABLE hoplite_sources (id INTEGER PRIMARY KEY, dataset, source);"
            "CREATE TABLE hoplite_embeddings (id INTEGER PRIMARY KEY, embedding BLOB,"
            " source_idx INTEGER, offsets BLOB);"
            "INSERT INTO hoplite_sources VALUES (1, 'set', 'x.wav');"
        )
        database.execute(
            "INSERT INTO hoplite_embeddings VALUES (1, ?, 1, ?)",
            (X[1].tobytes(), offsets.tobytes()),
        )
    found = read_embeddings(tmp_path / "h.sqlite")
    np.testing.assert_array_equal(found.x_ND, X[1:2])
    assert found.index["file"].tolist() == ["x.wav"]
    np.testing.assert_array_equal(found.index[["start_s", "end_s"]].to_numpy(), [expected])


def test_hoplite_vectors_of_one_width_where_some_are_zero():
    x_ND = np.zeros((3, 4), np.float32)
    x_ND[1] = [1, -0.5, 0.25, 3]
    for kind in ("<f4", "<f2"):
        blobs = [row.astype(kind).tobytes() for row in x_ND]
        np.testing.assert_array_equal(_vectors(Path("h.sqlite"), blobs), x_ND)
    for seed, size in enumerate((1e-3, 0.05, 1, 30)):
        x_ND = np.random.default_rng(seed).normal(0, size, (5, 16)).astype("<f2")
        x_ND[seed] = 0
        for kind in ("<f4", "<f2"):
            blobs = [row.astype(kind).tobytes() for row in x_ND]
            np.testing.assert_array_equal(_vectors(Path("h.sqlite"), blobs), x_ND)
    assert _vectors(Path("h.sqlite"), [bytes(16)] * 2).shape == (2, 4)
    assert _vectors(Path("h.sqlite"), []).shape == (0, 0)
    with pytest.raises(UserError, match="several widths"):
        _vectors(Path("h.sqlite"), [bytes(16), bytes(8)])


def _nan(folder):
    bad = X.copy()
    bad[1, 2] = np.nan
    np.savez(folder / "f.npz", embeddings=bad, filename=FILES)
    return folder / "f.npz"


def _text(content, name="f.csv"):
    def make(folder):
        (folder / name).write_text(content)
        return folder / name

    return make


def _bytes(folder):
    (folder / "f.npz").write_bytes(b"PK\x03\x04 no")
    return folder / "f.npz"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_nan, "row 2 (a/x.wav): has NaN"),
        (_text("start,e0,e1\n0,1,2\n"), "no column names the recording"),
        (_text("file,start\na.wav,0\n"), "no column holds the embedding"),
        (_text('file,embedding\na.wav,"1,2"\nb.wav,"1,2,3"\n'), "row 3: the embedding has 3"),
        (_text("file,start,e0,e1\na.wav,soon,1,2\n"), "start is 'soon'"),
        (_text(""), "is empty"),
        (_text("0 3 1 2\n3 6 1\n", "f.txt"), "row 2: has 1 values"),
        (_text("x", "f.doc"), "no format of embeddings"),
        (_text("no database", "f.sqlite"), "cannot be read as a database"),
        (_bytes, "cannot be read as arrays"),
        (lambda folder: folder / "absent.csv", "there is no such file"),
        (lambda folder: folder, "is a folder without hoplite.sqlite"),
    ],
)
def test_faults_are_named(make, words, tmp_path):
    with pytest.raises(UserError) as caught:
        read_embeddings(make(tmp_path))
    assert words in str(caught.value)


def test_the_verb_adds_and_refuses_to_mix(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("csv", tmp_path)
    assert run_g5(["import", "e.csv", "-o", "b.store", "--encoder", "birdnet"]) == 0
    assert run_g5(["import", "e.csv", "-o", "b.store", "--encoder", "birdnet"]) == 0
    store = VectorStore.open("b.store")
    assert len(store) == 3
    assert store.facts.window_s == 3
    assert run_g5(["import", "e.csv", "-o", "b.store", "--encoder", "perch"]) == 1
    assert "two encoders do not mix" in capsys.readouterr().err
    np.savez("wide.npz", embeddings=np.ones((1, 5)), filename=["z.wav"])
    assert run_g5(["import", "wide.npz", "-o", "b.store", "--encoder", "birdnet"]) == 1
    assert "dim" in capsys.readouterr().err
    assert run_g5(["search", "b.store", "--like", "y.wav", "-k", "3"]) == 0
    found = pd.read_csv("b_search.csv")
    assert len(found)
    assert "y.wav" not in set(found["file"])
    assert len(VectorStore.open("b.store")) == 3


def test_tables_of_birdnet_find_their_recordings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("north", "south"):
        (tmp_path / "rec" / folder).mkdir(parents=True)
    for name in ("north/one.wav", "north/two.wav", "south/two.wav"):
        (tmp_path / "rec" / name).touch()
    for name in ("one", "two", "gone"):
        Path(f"{name}.birdnet.embeddings.txt").write_text("0.0\t3.0\t1,2,3\n")
    tables = sorted(map(str, Path().glob("*.txt")))
    assert run_g5(["import", *tables, "-o", "b.store", "--audio-root", "rec"]) == 0
    files = VectorStore.open("b.store").index["file"].astype(str).tolist()
    assert files == ["gone", "north/one.wav", "two"]  # which of the two is not known


def test_names_labels_and_dates_stay_text(tmp_path: Path):
    path = tmp_path / "e.csv"
    path.write_text(
        "file,start,end,label,date,e0,e1\n0012,0,3,NA,20240105,.1,.2\n1e5,0,3,007,,.4,.5\n"
    )
    index = read_embeddings(path).index
    assert index["file"].tolist() == ["0012", "1e5"]
    assert index["label"].tolist() == ["NA", "007"]
    assert index["date"].tolist() == ["20240105", ""]
    assert index["start_s"].tolist() == [0, 0]
