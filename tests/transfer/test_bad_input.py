"""Bad input to the commands on embeddings: a clear line each, and nothing lost."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from g5.embeddings.vectors import VectorStore
from g5.web.journal import Journal, JournalEntry
from tests.conftest import run_g5
from tests.embeddings.model_files import small_onnx
from tests.labelled_store import CLASSES, kind_of, make_store

GOOD = "tests.user_encoders.Good"
HEADS = "classify.heads=[linear]"


@pytest.fixture
def birds(tmp_path, monkeypatch) -> Path:
    """A store of 60 vectors with a label in its journal, and labels of all its clips."""
    monkeypatch.chdir(tmp_path)
    store = make_store(tmp_path)
    Journal(store.path).add(JournalEntry("1", ("rec00.wav", 0.2, 0.5), "label", "high", 1.0))
    index = store.index[["file", "start_s", "end_s"]]
    labels = [kind_of(row) for row in range(len(index))]
    index.assign(label=labels).to_csv("labels.csv", index=False)
    return tmp_path


def refused(capsys: pytest.CaptureFixture, *command: str) -> str:
    """The line with which a command is refused; the store is as it was."""
    before = content()
    capsys.readouterr()
    assert run_g5(list(command)) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert content() == before
    return line


def content() -> dict[str, bytes]:
    files = [path for path in Path("birds.store").iterdir() if path.suffix != ".lock"]
    return {path.name: path.read_bytes() for path in files}


def vectors(path: str, x_ND: np.ndarray) -> str:
    np.savez(path, embeddings=x_ND, filename=[f"new{i}.wav" for i in range(len(x_ND))])
    return path


def test_vectors_of_another_width_and_nan(birds, capsys):
    wide = vectors("wide.npz", np.ones((2, 17), np.float32))
    assert "two encoders do not mix" in refused(capsys, "import", wide, "-o", "birds.store")
    assert run_g5(["import", vectors("a.npz", np.ones((2, 4))), "-o", "own.store"]) == 0
    bad = np.ones((3, 4))
    bad[1, 2] = np.nan
    both = ["import", vectors("bad.npz", bad), vectors("b.npz", np.ones((1, 4))), "-o", "own.store"]
    assert run_g5(both) == 1
    assert "left out: bad.npz, row 2 (new1.wav): has NaN" in capsys.readouterr().out
    assert len(VectorStore.open("own.store")) == 2  # b.npz names new0.wav, which is there


def test_two_encoders_in_a_store(birds, capsys):
    line = refused(capsys, "embed", GOOD, "audio", "-o", "birds.store")
    assert "holds vectors of the encoder test" in line
    assert "name another store" in line


def test_encoders_that_raise_or_cannot_be(birds, capsys):
    raising = "tests.user_encoders.Raises"
    line = refused(capsys, "embed", raising, "audio", "-o", "x.store")
    assert "mat1 and mat2 shapes cannot be multiplied; try g5 encoders check" in line
    two = str(small_onnx(birds / "two.onnx", inputs=2))
    line = refused(capsys, "embed", two, "audio", "-o", "y.store")
    assert "has 2 inputs (wave, more_0), where an encoder takes waveforms alone" in line


def test_labels_of_other_files_and_lone_classes(birds, capsys):
    with open("labels.csv", "a") as handle:
        handle.write("elsewhere.wav,0,1,low\nrec00.wav,0.2,0.5,lonely\n")
    command = ["classify", "birds.store", "--labels", "labels.csv", HEADS, "-o", "a.head"]
    assert run_g5(command) == 0
    out = capsys.readouterr().out
    assert "row 62 (elsewhere.wav)" in out
    assert "with a single label (lonely)" in out
    pd.DataFrame({"file": ["x.wav"], "label": ["a"]}).to_csv("none.csv", index=False)
    for command in (
        ["classify", "birds.store", "--labels"],
        ["label", "birds.store", "--simulate"],
    ):
        assert "no label has an embedding" in refused(capsys, *command, "none.csv")


@pytest.mark.parametrize(
    "command",
    [
        ["search", "birds.store", "--unusual"],
        ["cluster", "birds.store"],
        ["map", "birds.store"],
        ["label", "birds.store", "--no-browser"],
        ["classify", "birds.store", "--labels", "labels.csv"],
    ],
    ids=lambda command: command[0],
)
def test_a_truncated_store(birds, capsys, command):
    (shard,) = Path("birds.store").glob("*.f16")
    os.truncate(shard, 100)
    line = refused(capsys, *command)
    assert "is truncated to 100 of 1,920 bytes; run `g5 embed ENCODER recordings/ -o" in line


def test_a_truncated_store_is_mended_by_the_command_that_is_named(birds, capsys):
    assert run_g5(["embed", GOOD, "audio", "-o", "own.store"]) == 0
    before = np.asarray(VectorStore.open("own.store").vectors).copy()
    (shard,) = Path("own.store").glob("*.f16")
    os.truncate(shard, shard.stat().st_size // 2)
    Journal(Path("own.store")).add(JournalEntry("1", ("rec00.wav", 0.0, 0.5), "label", "low", 1.0))
    assert run_g5(["embed", GOOD, "audio", "-o", "own.store", "--check"]) == 0
    out = capsys.readouterr().out
    assert "is truncated (key " in out
    assert "12 in own.store now" in out
    after = VectorStore.open("own.store")
    order = after.index.sort_values(["file", "start_s"]).index
    np.testing.assert_array_equal(np.asarray(after.vectors)[order], before)
    assert len(Journal(Path("own.store")).entries) == 1
    assert run_g5(["embed", GOOD, "audio", "-o", "own.store", "--check"]) == 0
    assert "own.store: nothing is corrupt" in capsys.readouterr().out


def test_a_truncated_import_is_mended(birds, capsys):
    made = ["import", vectors("a.npz", np.ones((2, 4))), "-o", "own.store"]
    assert run_g5(made) == 0
    (shard,) = Path("own.store").glob("*.f16")
    os.truncate(shard, 3)
    assert run_g5(["cluster", "own.store"]) == 1
    assert "run `g5 import FILES -o own.store --check`" in capsys.readouterr().err
    assert run_g5([*made, "--check"]) == 0
    assert len(VectorStore.open("own.store")) == 2


def test_files_that_are_no_heads_classes_or_stores(birds, capsys):
    assert "is no head; g5 classify and g5 finetune make them" in refused(
        capsys, "predict", "labels.csv", "birds.store", "-o", "p.csv"
    )
    assert "there is no such store" in refused(capsys, "map", "nowhere.store")
    Path("empty.txt").write_text("\n")
    assert "names no class" in refused(
        capsys, "label", "birds.store", "--classes", "empty.txt", "--no-browser"
    )
    assert set(CLASSES) == set(pd.read_csv("labels.csv")["label"])
