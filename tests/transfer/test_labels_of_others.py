"""Labels under the columns of other programs, and labels that contradict each other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from g5.common.errors import UserError
from g5.embeddings.vectors import EncoderFacts, VectorStore
from g5.transfer.label_table import read_labels
from g5.transfer.labels import examples
from preprocessing.annotations import columns_of
from tests.conftest import run_g5


def a_store(path: Path, files: list[str]) -> VectorStore:
    store = VectorStore.create(path, EncoderFacts("mine", "mine-2", 2, 0, 1.0), audio_root=None)
    index = pd.DataFrame({"file": files, "start_s": 0.0, "end_s": 1.0})
    store.ingest(np.arange(2 * len(files), dtype=np.float32).reshape(-1, 2), index)
    return VectorStore.open(path)


def test_times_have_any_of_their_names(tmp_path: Path):
    path = tmp_path / "l.csv"
    for head in ("file,label,start_s,end_s", "File,Species,start_time,end_time",
                 "filename,class,Start (s),End (s)"):  # fmt: skip
        path.write_text(f"{head}\n0012.wav,NA,0.5,2\n")
        table = read_labels(path)
        assert table[["file", "label", "start_s", "end_s"]].to_numpy().tolist() == [
            ["0012.wav", "NA", 0.5, 2.0]
        ]


def test_columns_of_ones_own(tmp_path: Path):
    path = tmp_path / "l.csv"
    path.write_text("Datei;Art;Von;Bis\na.wav;owl;0,5;2\nb.wav;wren;1;2,5\n", "utf-16")
    table = read_labels(path, "single", columns_of("file=Datei,label=Art,start_s=Von,end_s=Bis"))
    assert table[["file", "label", "start_s", "end_s"]].to_numpy().tolist() == [
        ["a.wav", "owl", 0.5, 2.0], ["b.wav", "wren", 1.0, 2.5],
    ]  # fmt: skip
    with pytest.raises(
        UserError, match=r"l\.csv: has no column Name \(it has Datei, Art, Von, Bis"
    ):
        read_labels(path, "single", {"file": "Name", "label": "Art"})
    with pytest.raises(UserError, match="--columns: labl=Art should be OURS=THEIRS"):
        columns_of("file=Datei,labl=Art")


@pytest.mark.parametrize(
    "command",
    ["classify m.store --labels l.csv", "verify m.store --labels l.csv",
     "search m.store --unusual --labels l.csv", "map m.store --labels l.csv",
     "label m.store --simulate l.csv", "data split l.csv -o s.csv"],
)  # fmt: skip
def test_every_command_that_reads_labels_knows_columns(command: str, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    a_store(Path("m.store"), ["a.wav", "b.wav"])
    Path("l.csv").write_text("Datei;Art;Tier\na.wav;owl;x\nb.wav;owl;y\n")
    assert run_g5([*command.split(), "--columns", "file=Datei,label=Sp"]) == 1
    assert "l.csv: has no column Sp (it has Datei, Art, Tier)" in capsys.readouterr().err


def test_lists_of_ones_own_columns_are_read(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = [f"{i}.wav" for i in range(8)]
    a_store(Path("m.store"), names)
    rows = [f"{name};{'ab'[i % 2]};owl\n" for i, name in enumerate(names)]
    Path("l.csv").write_text("".join(["Datei;Tier;Art\n", *rows]))
    columns = ["--columns", "file=Datei,individual=Tier,label=Art"]
    assert run_g5(["verify", "m.store", "--labels", "l.csv", *columns]) == 0
    assert "equal error rate" in capsys.readouterr().out
    command = ["data", "split", "l.csv", "-o", "s.csv", "--columns", "file=Datei,label=Tier"]
    assert run_g5([*command, "--no-mlflow"]) == 0
    assert pd.read_csv("s.csv")["file"].tolist() == names


def test_contradictions_and_spellings_are_told(tmp_path: Path):
    store = a_store(tmp_path / "s.store", ["a.wav", "b.wav", "c.wav"])
    path = tmp_path / "l.csv"
    path.write_text("file,label\na.wav,owl\nb.wav,wren\nc.wav,Wren \na.wav,wren\n")
    notes = examples(store, read_labels(path), "single", where="l.csv").notes
    assert any("'Wren' and 'wren' differ only in case" in note for note in notes)
    assert any(
        "a.wav has several labels that contradict each other, 'owl' (row 2) and 'wren' (row 5)"
        in note for note in notes
    )  # fmt: skip
    assert not any("contradict" in note for note in examples(
        store, read_labels(path), "multi", where="l.csv").notes)  # fmt: skip


def test_equal_sound_under_two_names_has_one_label(tmp_path: Path):
    files = ["a.wav", "site/b.wav", "c.wav"]
    store = a_store(tmp_path / "s.store", files)
    named = VectorStore.create(tmp_path / "t.store", store.facts, audio_root=None)
    with named.writer() as writer:
        for file, sound in zip(files, ("one", "one", "two"), strict=True):
            columns = {"file": [file], "start_s": [0.0], "end_s": [1.0]}
            writer.add(f"{sound}:{file}", np.zeros((1, 2), np.float32), columns)
    path = tmp_path / "l.csv"
    path.write_text("file,label\na.wav,owl\nb.wav,wren\nc.wav,wren\n")
    notes = examples(VectorStore.open(named.path), read_labels(path), "single").notes
    assert notes == [
        "labels: a.wav, the same sound as b.wav, has several labels that contradict each other, "
        "'owl' (row 2) and 'wren' (row 3); all are used"
    ]
    assert examples(store, read_labels(path), "single").notes == []


def test_times_that_are_not_understood_and_what_is_no_species_are_told(tmp_path: Path, capsys):
    path = tmp_path / "l.csv"
    path.write_text("file,label,start_ms,sex\na.wav,owl,1500,f\n")
    with pytest.raises(UserError, match="has times in start_ms, which are none of the known"):
        read_labels(path)
    path.write_text("file,label,mass_g,sex\na.wav,owl,1500,f\n")
    assert np.isnan(read_labels(path)["start_s"]).all()
    assert "a label is of its whole recording; not read: mass_g\n" in capsys.readouterr().err
    path.write_text("file,label,start,duration\na.wav,owl,1.5,2\nb.wav,nocall,0,3\n")
    table = read_labels(path)
    assert table[["start_s", "end_s"]].to_numpy().tolist() == [[1.5, 3.5]]
    assert "row 3: 'nocall' says that nothing called" in capsys.readouterr().err
    path.write_text("file,start_s,end_s,owl,wren\na.wav,0,3,1,0\na.wav,3,6,0,1\n")
    assert read_labels(path)["label"].tolist() == ["owl", "wren"]


def test_a_list_is_read_as_tables_are(tmp_path: Path, capsys):
    """One decimal sign for a table, ditto marks, and notes of what was repaired."""
    path = tmp_path / "l.csv"
    path.write_text("file;label;start_s;end_s\na.wav;owl;1,234;2,5\nb.wav;〃;;\n", "utf-8")
    table = read_labels(path)
    assert table["label"].tolist() == ["owl", "owl"]
    np.testing.assert_array_equal(table["start_s"], [1.234, np.nan])
    assert "row 3: label is a ditto mark, read as the value above" in capsys.readouterr().err
    path.write_text("file,label,start_s,end_s\na.wav,owl,1.5 s,2\n")
    with pytest.raises(UserError, match=r"row 2: start_s is '1.5 s', where a number of seconds"):
        read_labels(path)


def test_what_a_row_says_is_no_call_is_no_label(tmp_path: Path, capsys):
    path = tmp_path / "l.csv"
    path.write_text("file,start_s,end_s,label,status\na.wav,0,1,owl,POS\na.wav,2,3,owl,NEG\n")
    assert read_labels(path)["start_s"].tolist() == [0.0]
    assert "row 3: status is NEG, no call; left out" in capsys.readouterr().err
    path.write_text("file,label,present\na.wav,owl,1\nb.wav,owl,-9\n")
    assert read_labels(path)["file"].tolist() == ["a.wav"]
    assert (
        capsys.readouterr().err
        == f"note: {path}, row 3: present is -9, so it is no call; left out\n"
    )
    for head in ("file,label,timestamp_s", "file,label,from"):
        path.write_text(f"{head}\na.wav,owl,5\n")
        with pytest.raises(UserError, match="has times in"):
            read_labels(path)
