"""Data groups on folders made for the test: what is read, and every way it can be wrong."""

import inspect
import os
import shutil
import threading
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from omegaconf import DictConfig, OmegaConf

from g5.common.errors import UserError
from g5.config.build import signature_hints
from g5.config.choices import CONF
from preprocessing import datasets, recordings
from preprocessing.datasets import AnnotatedData, ClipsData, DcaseData, RavenData
from preprocessing.events import CORPUS_COLUMNS, RECORDING_COLUMNS, Corpus
from tests.conftest import run_g5

HEAD = "Audiofilename,Starttime,Endtime,"


def sound(path: Path, seconds: float = 2.0, rate_hz: int = 8000, channels: int = 1) -> Path:
    """A file of noise that no other path has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(path.as_posix().encode()))
    x = 0.1 * rng.standard_normal((int(seconds * rate_hz), channels))
    soundfile.write(path, x, rate_hz)
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def dcase(root: Path, **changes) -> DcaseData:
    settings = {
        "train_dir": str(root / "train"), "eval_dir": str(root / "val"),
        "test_dir": str(root / "test"), "q_class": "recording", "anchor": "centre",
        "cache_dir": None,
    }  # fmt: skip
    return DcaseData(**{**settings, **changes})


def clips(root: Path | None, **changes) -> ClipsData:
    settings = {
        "root": root and str(root), "audio_dir": None, "split": "auto", "val_classes": 0.2,
        "test_classes": 0.2, "fold": None, "folds": 5, "seed": 0, "anchor": "loudest",
        "columns": None, "cache_dir": None,
    }  # fmt: skip
    return ClipsData(**{**settings, **changes})


def annotated(root: Path, **changes) -> AnnotatedData:
    settings = {
        "train_dir": str(root / "train"), "eval_dir": None, "test_dir": None,
        "q_class": "recording",
        "label_column": "auto", "columns": None, "anchor": "centre", "cache_dir": None,
    }  # fmt: skip
    return AnnotatedData(**{**settings, **changes})


def raven(root: Path, **changes) -> RavenData:
    settings = {
        "train_dir": str(root / "train"), "eval_dir": None, "test_dir": None,
        "label_column": "auto", "anchor": "centre", "cache_dir": None,
    }  # fmt: skip
    return RavenData(**{**settings, **changes})


def kinds(corpus: Corpus, *, fatal: bool | None = None) -> list[str]:
    return [p.kind for p in corpus.problems if fatal is None or p.fatal == fatal]


def told(corpus: Corpus, kind: str) -> str:
    (problem,) = [problem for problem in corpus.problems if problem.kind == kind]
    return str(problem)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A training set of two subsets, a validation set and a test set, nothing wrong with them."""
    sound(tmp_path / "train/BV/a.wav", 10, 22050, 2)
    text(tmp_path / "train/BV/a.csv", HEAD + "OWL,WREN\na.wav,1,2,POS,POS\na.wav,3,4,UNK,NEG\n")
    sound(tmp_path / "train/JD/b.flac", 10, 6000)
    text(tmp_path / "train/JD/b.csv", HEAD + "CALL\nb.flac,0.5,0.75,POS\n")
    sound(tmp_path / "val/HB/c.wav", 5)
    text(tmp_path / "val/HB/c.csv", HEAD + "Q\nc.wav,1,2,POS\nc.wav,2,3,UNK\n")
    sound(tmp_path / "test/PB/d.ogg", 5)
    text(tmp_path / "test/PB/d.csv", HEAD + "Q\nd.ogg,1,2,POS\n")
    return tmp_path


@pytest.mark.parametrize("name", ["annotated", "dcase", "clips", "raven"])
def test_constructors_are_the_yaml(name: str):
    config = OmegaConf.load(CONF / "data" / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    keys = [str(key) for key in config if key != "_target_"]
    target = getattr(datasets, config["_target_"].rsplit(".", 1)[1])
    assert set(signature_hints(target)) == set(keys)
    parameters = inspect.signature(target.__init__).parameters.values()
    assert all(parameter.default is inspect.Parameter.empty for parameter in parameters)


def test_dcase_reads_every_kind_of_csv(sets: Path):
    corpus = dcase(sets).load()
    assert corpus.problems == ()
    assert list(corpus.events) == CORPUS_COLUMNS
    assert list(corpus.recordings) == RECORDING_COLUMNS
    found = corpus.events.drop(columns=["file", "source"]).to_records(index=False).tolist()
    assert found == [
        (1.0, 2.0, "PB/d", "POS", "test"),
        (1.0, 2.0, "OWL", "POS", "train"), (1.0, 2.0, "WREN", "POS", "train"),
        (3.0, 4.0, "OWL", "UNK", "train"), (3.0, 4.0, "WREN", "NEG", "train"),
        (0.5, 0.75, "JD", "POS", "train"),
        (1.0, 2.0, "HB/c", "POS", "val"), (2.0, 3.0, "HB/c", "UNK", "val"),
    ]  # fmt: skip
    assert list(corpus.events["source"]) == list(corpus.events["file"])
    assert corpus.labels("train") == ["JD", "OWL", "WREN"]
    table = corpus.recordings.set_index("file").loc[str(sets / "train/BV/a.wav")]
    assert table[["duration_s", "rate_hz", "channels", "frames"]].tolist() == [10, 22050, 2, 220500]
    assert table["split"] == "train"
    assert dcase(sets, q_class="subset").load().labels("val") == ["HB"]
    corpus.raise_if_fatal()


def test_dcase_tests_on_the_validation_set_where_there_is_no_other(sets: Path):
    corpus = dcase(sets, test_dir=None).load()
    assert corpus.labels("test") == corpus.labels("val") == ["HB/c"]
    assert kinds(corpus) == ["test-is-val"]
    assert kinds(dcase(sets, train_dir=None, eval_dir=None).load()) == []


def test_a_problem_in_one_file_hides_none_in_the_others(sets: Path):
    text(sets / "train/BV/bad.csv", HEAD + "CALL\na.wav,x,2,POS\n")
    text(sets / "train/JD/gone.csv", HEAD + "CALL\ngone.wav,1,2,POS\n")
    sound(sets / "train/JD/cut.wav")
    (sets / "train/JD/cut.wav").write_bytes((sets / "train/JD/cut.wav").read_bytes()[:900])
    text(sets / "train/JD/cut.csv", HEAD + "CALL\ncut.wav,0,0.1,POS\n")
    text(sets / "val/HB/c.csv", HEAD + "Q\nc.wav,4,9,POS\nc.wav,1,2,POS\nc.wav,7,8,POS\n")
    sound(sets / "test/PB/alone.wav")
    text(sets / "test/PB/d.csv", "something,else\n1,2\n")
    corpus = dcase(sets).load()
    assert sorted(kinds(corpus, fatal=True)) == [
        "bad-row", "missing-audio", "unknown-format",
    ]  # fmt: skip
    assert sorted(kinds(corpus, fatal=False)) == [
        "no-annotation", "past-end", "past-end", "past-end", "repaired-audio", "unsorted",
    ]  # fmt: skip
    assert told(corpus, "bad-row").startswith(f"{sets}/train/BV/bad.csv, row 2: Starttime is 'x'")
    assert told(corpus, "missing-audio").startswith(f"{sets}/train/JD/gone.csv, row 2: ")
    assert "1 of 4 recordings end early; read to their end: cut.wav" in told(
        corpus, "repaired-audio"
    )
    assert "d.csv: its first row is 'something,else'" in told(corpus, "unknown-format")
    assert "alone.wav: no annotation table; left out" in told(corpus, "no-annotation")
    # What is good is still there.
    assert set(corpus.events["label"]) == {"OWL", "WREN", "JD", "HB/c"}
    assert corpus.split("val")[["start_s", "end_s"]].to_numpy().tolist() == [[1, 2], [4, 5]]
    with pytest.raises(UserError, match=r"^3 problems in the data: .*g5 data check"):
        corpus.raise_if_fatal()


@pytest.mark.parametrize("content", [HEAD + "CALL\n", ""])
def test_an_empty_table_is_a_recording_without_calls(sets: Path, content: str):
    sound(sets / "train/JD/quiet.wav", 3)
    text(sets / "train/JD/quiet.csv", content)
    corpus = dcase(sets).load()
    assert kinds(corpus) == ["empty-table"]
    assert not told(corpus, "empty-table").endswith("quiet.wav")
    quiet = corpus.recordings.set_index("file").loc[str(sets / "train/JD/quiet.wav")]
    assert (quiet["split"], quiet["duration_s"]) == ("train", 3.0)


def test_all_tables_empty(tmp_path: Path):
    sound(tmp_path / "train/X/a.wav")
    text(tmp_path / "train/X/a.csv", HEAD + "CALL\n")
    corpus = dcase(tmp_path, eval_dir=None, test_dir=None).load()
    assert len(corpus.recordings) == 1
    assert corpus.split("train").empty
    assert len(corpus.data_hash) == len(corpus.split_hash) == 16


def test_a_csv_of_something_else_is_passed_over(sets: Path):
    text(sets / "train/classes.csv", "class_code,class_name\nOWL,Strix aluco\n")
    corpus = dcase(sets).load()
    assert kinds(corpus) == ["no-annotation"]
    assert not corpus.problems[0].fatal


@pytest.mark.parametrize("name", ["A.WAV", "a.WAV", "a", "a.mp3", "A.Wav"])
def test_recordings_are_found_in_another_spelling(tmp_path: Path, name: str):
    sound(tmp_path / "train/X/a.wav")
    text(tmp_path / "train/X/a.csv", HEAD + f"CALL\n{name},0,1,POS\n")
    corpus = dcase(tmp_path, eval_dir=None, test_dir=None).load()
    assert corpus.problems == ()
    assert list(corpus.events["file"]) == [str(tmp_path / "train/X/a.wav")]


def test_an_ambiguous_recording_is_refused(tmp_path: Path):
    for name in ("a.flac", "a.ogg"):
        sound(tmp_path / "train/X" / name)
    text(tmp_path / "train/X/a.csv", HEAD + "CALL\na.wav,0,1,POS\n")
    corpus = dcase(tmp_path, eval_dir=None, test_dir=None).load()
    assert "'a.wav' may be" in told(corpus, "missing-audio")
    assert len(corpus.events) == 0


def test_equal_bytes_in_two_splits_are_an_error_that_names_both(sets: Path):
    shutil.copy(sets / "train/BV/a.wav", sets / "test/PB/copy.wav")
    text(sets / "test/PB/copy.csv", HEAD + "Q\ncopy.wav,1,2,POS\n")
    with pytest.raises(UserError) as error:
        dcase(sets).load().raise_if_fatal()
    assert str(sets / "train/BV/a.wav") in str(error.value)
    assert str(sets / "test/PB/copy.wav") in str(error.value)


def test_equal_bytes_within_a_split_are_one_source(sets: Path):
    shutil.copy(sets / "train/BV/a.wav", sets / "train/BV/copy.wav")
    text(sets / "train/BV/copy.csv", HEAD + "OWL\ncopy.wav,1,2,POS\n")
    corpus = dcase(sets).load()
    assert kinds(corpus, fatal=True) == []
    assert kinds(corpus) == ["duplicate-bytes"]
    owls = corpus.events[corpus.events["label"] == "OWL"]
    assert set(owls["source"]) == {str(sets / "train/BV/a.wav")}


def test_a_class_in_two_splits_is_an_error(sets: Path):
    sound(sets / "test/JD/e.wav")
    text(sets / "test/JD/e.csv", HEAD + "CALL\ne.wav,0,1,POS\n")
    corpus = dcase(sets).load()
    assert kinds(corpus, fatal=True) == ["split-leak"]
    assert "class 'JD'" in told(corpus, "split-leak")


def test_one_folder_for_two_splits_is_an_error(sets: Path):
    corpus = dcase(sets, eval_dir=str(sets / "train"), test_dir=None).load()
    assert "duplicate-bytes" in kinds(corpus, fatal=True)
    assert "is in train and in val" in str(corpus.problems)


def test_impossible_settings_name_their_key(tmp_path: Path):
    (tmp_path / "train").mkdir()
    nowhere = {"train_dir": None, "eval_dir": None, "test_dir": None}
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: dcase(tmp_path, q_class="file"), r"data\.q_class: 'file'"),
        (lambda: dcase(tmp_path, anchor="middle"), r"data\.anchor: 'middle'"),
        (lambda: dcase(tmp_path).load(), r"path\.eval_dir=.*val, path\.test_dir=.*test"),
        (lambda: dcase(tmp_path, **nowhere).load(), r"data=dcase needs path\.train_dir"),
        (lambda: raven(tmp_path, train_dir=None).load(), r"data=raven needs path\.train_dir"),
        (lambda: clips(tmp_path, split="random"), r"data\.split: 'random'"),
        (lambda: clips(tmp_path, columns={"art": "Art"}), r"data\.columns: art=Art should be"),
        (lambda: annotated(tmp_path, columns={"label": ""}), r"data\.columns: label= should be"),
        (lambda: clips(tmp_path, val_classes=-0.1), r"data\.val_classes"),
        (lambda: clips(tmp_path, val_classes=0.5, test_classes=0.5), r"data\.test_classes"),
        (lambda: clips(tmp_path / "absent").load(), r"data\.root: there is no .*absent"),
        (lambda: clips(None).load(), r"data\.root"),
    ]  # fmt: skip
    for make, message in wrong:
        with pytest.raises(UserError, match=message):
            make()


def test_a_folder_without_annotations_is_fatal(tmp_path: Path):
    sound(tmp_path / "train/a.wav")
    for group in (dcase(tmp_path, eval_dir=None, test_dir=None), raven(tmp_path)):
        with pytest.raises(UserError, match="has no annotation tables"):
            group.load().raise_if_fatal()
    with pytest.raises(UserError, match="no class folders"):
        clips(tmp_path / "train").load().raise_if_fatal()


def test_clips_in_class_folders(tmp_path: Path):
    for label in "abcdefghij":
        for n in range(2):
            sound(tmp_path / label / "more" / f"{n}.wav", 0.1 * (n + 1))
    sound(tmp_path / "loose.wav")
    corpus = clips(tmp_path).load()
    assert kinds(corpus) == ["no-annotation", "folder-classes"]
    assert "loose.wav: in no class folder" in told(corpus, "no-annotation")
    assert {s: len(corpus.labels(s)) for s in ("train", "val", "test")} == {
        "train": 6, "val": 2, "test": 2,
    }  # fmt: skip
    assert sorted(corpus.events["end_s"].unique()) == [0.1, 0.2]
    again, other = clips(tmp_path).load(), clips(tmp_path, seed=1).load()
    assert again.split_hash == corpus.split_hash != other.split_hash
    assert clips(tmp_path, split="test").load().labels("test") == list("abcdefghij")
    assert clips(tmp_path, val_classes=0.0, test_classes=0.5).load().labels("val") == []


def test_folders_of_nothing_and_with_blanks_are_no_classes_of_their_own(tmp_path: Path):
    for label in ("a", "b ", "c", "No Call"):
        sound(tmp_path / label / "0.wav")
    corpus = clips(tmp_path, split="test").load()
    assert corpus.labels("test") == ["a", "b", "c"]
    assert "1 clip in a folder that says that nothing called" in told(corpus, "no-call")


def test_clips_in_a_list(tmp_path: Path):
    lines = ["file,label,fold,source,split"]
    for n, (label, split) in enumerate([("a", "train"), ("b", "val"), ("c", "test")]):
        sound(tmp_path / f"audio/{label}.ogg", 1.0)
        lines.append(f"{label}.ogg,{label},{n},s{n},{split}")
    path = text(tmp_path / "clips.csv", "\n".join(lines))
    corpus = clips(path, audio_dir=str(tmp_path / "audio")).load()
    assert corpus.problems == ()
    assert [corpus.labels(split) for split in ("train", "val", "test")] == [["a"], ["b"], ["c"]]
    assert list(corpus.events["source"]) == ["s0", "s1", "s2"]
    assert list(corpus.recordings["source"]) == ["s0", "s1", "s2"]
    assert clips(path, audio_dir=str(tmp_path / "audio"), split="test").load().labels("test") == [
        "a", "b", "c",
    ]  # fmt: skip
    assert clips(path).load().problems == ()  # they lie below the list
    (tmp_path / "empty").mkdir()
    elsewhere = clips(path, audio_dir=str(tmp_path / "empty")).load()
    assert kinds(elsewhere, fatal=True) == ["missing-audio"]
    with pytest.raises(UserError, match=r"data\.audio_dir"):
        clips(path, audio_dir=str(tmp_path / "nowhere")).load()


def test_tables_of_ones_own_columns(tmp_path: Path):
    for name in ("a", "b"):
        sound(tmp_path / f"train/{name}.wav", 5)
    text(tmp_path / "train/a.csv", "Von (Sek);Bis;Wer's\n1,5;2,5;Amsel\n")
    text(tmp_path / "train/b.csv", "file,start_s,end_s,label\nb.wav,1,2,Specht\n")  # as it is
    text(tmp_path / "train/list.csv", "Datei,Art\na.wav,Amsel\nb.wav,Specht\n")
    names = {"start_s": "Von (Sek)", "end_s": "Bis", "label": "Wer's"}
    corpus = annotated(tmp_path, columns=names).load()
    assert [*corpus.events["label"]] == ["Amsel", "Specht"]
    assert [*corpus.events["start_s"]] == [1.5, 1.0]
    assert "--columns" in told(annotated(tmp_path).load(), "unknown-format")
    listed = clips(
        tmp_path / "train/list.csv", split="test", columns={"file": "Datei", "label": "Art"}
    )
    assert listed.load().labels("test") == ["Amsel", "Specht"]


def test_commands_take_names_of_columns_and_a_set_in_a_zip(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sound(tmp_path / "a.wav", 5)
    text(tmp_path / "a.csv", "Von (Sek);Bis;Wer's\n1,5;2,5;Amsel\n")
    with zipfile.ZipFile("set.zip", "w") as archive:
        for name in ("a.wav", "a.csv"):
            archive.write(name, f"night/{name}")
    asked = ["data=annotated", "path.train_dir=set.zip/night"]
    named = ["--columns", "start_s=Von (Sek),end_s=Bis,label=Wer's"]
    assert run_g5(["data", "check", *asked, *named]) == 0
    assert "1 class, 1 call" in capsys.readouterr().out
    assert run_g5(["features", *asked, *named]) == 0
    assert "1 recording in" in capsys.readouterr().out
    assert run_g5(["features", *asked[:1], "path.train_dir=set.zip/day"]) == 1
    assert "set.zip/day" in capsys.readouterr().err


def test_clips_of_a_list_in_two_splits_are_an_error(tmp_path: Path):
    for name in ("1.wav", "2.wav", "3.wav"):
        sound(tmp_path / name)
    listed = "file,label,source,split\n1.wav,a,s,train\n2.wav,b,s,test\n3.wav,a,t,val\n"
    corpus = clips(text(tmp_path / "clips.csv", listed)).load()
    where = [problem.where for problem in corpus.problems if problem.fatal]
    assert where == ["class 'a'", "source 's'"]
    twice = "file,label,split\n1.wav,a,train\n1.wav,a,test\n"
    corpus = clips(text(tmp_path / "clips.csv", twice)).load()
    assert kinds(corpus, fatal=True) == ["duplicate-bytes", "split-leak"]


def test_classes_that_share_a_source_stay_together(tmp_path: Path):
    lines = ["file,label,source"]
    for n, label in enumerate("abcdefghij"):
        for take in range(2):
            sound(tmp_path / f"{label}{take}.wav", 0.05)
            # a-b, c-d, ... share a source; so do j and i, through equal bytes only.
            source = f"s{n // 2}" if take and n < 8 else ""
            lines.append(f"{label}{take}.wav,{label},{source}")
    shutil.copy(tmp_path / "i0.wav", tmp_path / "j0.wav")
    path = text(tmp_path / "clips.csv", "\n".join(lines))
    for seed in range(5):
        corpus = clips(path, seed=seed).load()
        assert kinds(corpus, fatal=True) == []
        split = {label: s for s in ("train", "val", "test") for label in corpus.labels(s)}
        assert len(split) == 10
        assert all(split[one] == split[other] for one, other in ("ab", "cd", "ef", "gh", "ij"))
    lines = ["file,label,source", *(f"{label}0.wav,{label},same" for label in "abcd")]
    corpus = clips(text(path, "\n".join(lines))).load()
    assert "4 of them share sources" in told(corpus, "split")


def test_raven_tables_beside_and_apart(tmp_path: Path):
    head = "Selection\tView\tBegin Time (s)\tEnd Time (s)\tSpecies\n"
    stems = {"a.b": "a.b.Table.1.selections.txt", "c": "c.selections.txt", "d": "d.txt"}
    for stem, name in stems.items():
        sound(tmp_path / "train/audio" / f"{stem}.wav")
        folder = "audio" if stem == "d" else "tables"
        text(
            tmp_path / "train" / folder / name,
            head + "1\tWaveform 1\t0.5\t1\twren\n1\tSpectrogram 1\t0.5\t1\twren\n",
        )
    text(tmp_path / "train/README.txt", "Recorded in 2019.\n")
    sound(tmp_path / "train/audio/e.wav")
    corpus = raven(tmp_path).load()
    assert kinds(corpus, fatal=True) == []
    assert kinds(corpus) == ["no-annotation", "no-annotation"]  # README.txt and e.wav
    assert [Path(file).name for file in corpus.events["file"]] == ["a.b.wav", "c.wav", "d.wav"]


def test_raven_table_over_several_files(tmp_path: Path):
    for name in ("a.wav", "b.wav"):
        sound(tmp_path / "train/audio" / name)
    head = "Begin Time (s)\tEnd Time (s)\tBegin Path\tFile Offset (s)\tSpecies\n"
    body = "0.5\t1\tD:\\field\\a.wav\t0.5\twren\n3\t4\tD:\\field\\b.wav\t1\twren\n"
    text(tmp_path / "train/all.txt", head + body)
    corpus = raven(tmp_path).load()
    assert corpus.problems == ()
    assert corpus.events[["start_s", "end_s"]].to_numpy().tolist() == [[0.5, 1], [1, 2]]
    assert [Path(file).name for file in corpus.events["file"]] == ["a.wav", "b.wav"]


def test_raven_table_without_recording_or_label_column(tmp_path: Path):
    sound(tmp_path / "train/a.wav")
    text(tmp_path / "train/a.txt", "Begin Time (s)\tEnd Time (s)\n0\t1\n")
    text(tmp_path / "train/b.txt", "Begin Time (s)\tEnd Time (s)\tSpecies\n0\t1\twren\n")
    corpus = raven(tmp_path).load()
    assert "data.label_column" in told(corpus, "unknown-format")
    assert "b.txt, row 2: no such recording: b" in told(corpus, "missing-audio")


def test_every_kind_of_table_is_read_side_by_side(tmp_path: Path):
    train = tmp_path / "train"
    for stem in "abcdefg":
        sound(train / f"{stem}.wav")
    text(train / "a.txt", "0.5\t1\twren\n1\t1.5\t\n")  # Audacity
    text(
        train / "b.BirdNET.results.csv",
        "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
        "0,1.5,Troglodytes troglodytes,wren,0.7,/far/away/b.wav\n",
    )
    text(train / "plain.csv", "file,onset,offset,species,source\nc.wav,0,1,tit,pond\n")
    text(train / "d.csv", HEAD + "CALL\nd.wav,0,1,POS\nd.wav,1,2,UNK\n")
    text(train / "e.tsv", "Begin Time (s)\tEnd Time (s)\tAnnotation\n0\t1\ttit\n")
    one = {"file": ["f.wav"], "start_s": [0.25], "end_s": [1.0], "label": ["tit"]}
    pd.DataFrame(one).to_parquet(train / "f.parquet")
    text(train / "g.csv", "one,two\n1,2\n")
    text(train / "README.txt", "Recorded in 2019.\n")
    text(train / "nameless.txt", "0\t1\n")
    corpus = annotated(tmp_path).load()
    events = corpus.events.assign(file=[Path(file).stem for file in corpus.events["file"]])
    assert list(events[["file", "start_s", "label", "status"]].itertuples(False, None)) == [
        ("a", 0.5, "wren", "POS"), ("b", 0.0, "wren", "POS"), ("c", 0.0, "tit", "POS"),
        ("d", 0.0, "train", "POS"), ("d", 1.0, "train", "UNK"), ("e", 0.0, "tit", "POS"),
        ("f", 0.25, "tit", "POS"),
    ]  # fmt: skip
    assert events["source"].tolist()[2] == "pond"
    assert f"{train}/a.txt, row 2: the label is empty" in told(corpus, "no-label")
    said = [str(p) for p in corpus.problems if p.kind in ("unknown-format", "no-annotation")]
    assert any("g.csv: its first row is 'one,two'; that is no Raven table" in s for s in said)
    assert any("README.txt: its first row" in s and "passed over" in s for s in said)
    assert any("nameless.txt: names no class in any row" in s for s in said)
    corpus = annotated(tmp_path, label_column="Ruf").load()
    assert "no column Ruf for the class" in "".join(map(str, corpus.problems))


def test_hashes_are_remembered_until_a_file_changes(sets: Path, monkeypatch: pytest.MonkeyPatch):
    cache = sets / "cache"
    first = dcase(sets, cache_dir=str(cache)).load()
    read: list[str] = []
    plain = recordings.content_hash
    monkeypatch.setattr(recordings, "content_hash", lambda path: read.append(path) or plain(path))
    again = dcase(sets, cache_dir=str(cache)).load()
    assert read == []
    pd.testing.assert_frame_equal(again.recordings, first.recordings)
    sound(sets / "val/HB/c.wav", 4)
    changed = dcase(sets, cache_dir=str(cache)).load()
    assert read == [str(sets / "val/HB/c.wav")]
    assert changed.data_hash != first.data_hash
    (cache / recordings.CACHE_NAME).write_bytes(b"no parquet")
    assert dcase(sets, cache_dir=str(cache)).load().data_hash == changed.data_hash


def test_hashes_so_far_are_kept_when_interrupted(sets: Path, monkeypatch: pytest.MonkeyPatch):
    plain, calls, lock = recordings.content_hash, [], threading.Lock()

    def interrupted(path: str) -> str:
        with lock:
            calls.append(path)
            if len(calls) == 3:
                raise KeyboardInterrupt
        return plain(path)

    monkeypatch.setattr(recordings, "_THREADS", 1)
    monkeypatch.setattr(recordings, "content_hash", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dcase(sets, cache_dir=str(sets / "cache")).load()
    assert len(pd.read_parquet(sets / "cache" / recordings.CACHE_NAME)) == 2
    assert [path.name for path in (sets / "cache").iterdir()] == [recordings.CACHE_NAME]


def test_links_to_folders_are_followed_and_loops_are_not(sets: Path):
    (sets / "elsewhere").mkdir()
    shutil.move(sets / "train/JD", sets / "elsewhere/JD")
    (sets / "train/JD").symlink_to(sets / "elsewhere/JD")
    (sets / "train/BV/up").symlink_to(sets / "train")
    (sets / "train/BV/._a.csv").write_bytes(b"\0\5\x16\7")
    corpus = dcase(sets).load()
    assert corpus.problems == ()
    assert corpus.labels("train") == ["JD", "OWL", "WREN"]


def test_a_hundred_thousand_rows_in_a_few_seconds(tmp_path: Path):
    rng = np.random.default_rng(0)
    for n in range(10):
        sound(tmp_path / f"train/X/{n}.wav", 30)
        start_s = np.sort(rng.uniform(0, 31, 10_000))
        table = pd.DataFrame({"Audiofilename": f"{n}.wav", "Starttime": start_s})
        table = table.assign(Endtime=start_s + 0.1, CALL="POS")
        table.to_csv(tmp_path / f"train/X/{n}.csv", index=False)
    start = time.process_time()
    corpus = dcase(tmp_path, eval_dir=None, test_dir=None).load()
    assert corpus.data_hash
    assert time.process_time() - start < 10
    assert 90_000 < len(corpus.events) < 100_000
    assert set(kinds(corpus)) == {"overlap", "past-end"}


def test_a_folder_named_like_a_recording_or_a_table_is_named(sets: Path):
    (sets / "train/JD/night.wav").mkdir()
    text(sets / "train/JD/night.csv", HEAD + "CALL\nnight.wav,0,1,POS\n")
    (sets / "val/HB/site.csv").mkdir()
    corpus = dcase(sets).load()
    assert f"{sets}/train/JD/night.wav: is a folder" in told(corpus, "unreadable-audio")
    assert f"{sets}/val/HB/site.csv: is a folder" in told(corpus, "unknown-format")
    text(sets / "list.csv", "file,label\ntrain/JD/night.wav,owl\n")
    assert "night.wav: is a folder" in told(clips(sets / "list.csv").load(), "unreadable-audio")


def test_clips_of_two_labels_and_folders_that_are_classes_are_told(tmp_path: Path, capsys):
    for name in "abcdef":
        sound(tmp_path / f"{name}.wav", 0.2)
    rows = "".join(f"{name}.wav,{name}\n" for name in "abcdef")
    (tmp_path / "l.csv").write_text(f"file,label\n{rows}A.WAV,owl\nb.wav,〃\n", "utf-8")
    sound(tmp_path / "c.wav", 0.3)
    copied = tmp_path / "copy.wav"
    copied.write_bytes((tmp_path / "c.wav").read_bytes())
    with (tmp_path / "l.csv").open("a") as table:
        table.write("copy.wav,owl\n")
    corpus = clips(tmp_path / "l.csv", split="test").load()
    assert told(corpus, "ditto").endswith("row 9: label is a ditto mark, read as the value above")
    found = [str(problem) for problem in corpus.problems if problem.kind == "contradiction"]
    assert found == [
        f"{tmp_path / name}.wav: has several labels that contradict each other, "
        f"{name!r} (row {of}) and 'owl' (row {row}); all are used"
        for name, of, row in (("a", 2, 8), ("b", 3, 9))
    ] + [
        f"{tmp_path / 'c'}.wav: has several labels that contradict each other, "
        f"'c' (row 4) and 'owl' (row 10, {copied}); all are used"
    ]
    corpus.raise_if_fatal()
    assert "b.wav: has several labels" in capsys.readouterr().out

    for place in ("north", "south"):
        sound(tmp_path / "sites" / place / f"{place}.wav", 0.2)
    corpus = clips(tmp_path / "sites", split="test").load()
    assert "folder names became classes: north, south" in told(corpus, "folder-classes")


def test_clips_in_a_closed_folder_are_told(tmp_path: Path, monkeypatch):
    sound(tmp_path / "owl" / "a.wav", 0.2)
    closed = tmp_path / "wren"
    closed.mkdir()

    def denied(path, *, real=os.scandir):
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", denied)
    corpus = clips(tmp_path, split="test").load()
    assert told(corpus, "unreadable-folder") == f"{closed}: cannot be entered; left out"


def test_spellings_of_several_tables_are_told(tmp_path: Path):
    for place, label in (("north", "Tawny Owl"), ("south", "tawny owl")):
        sound(tmp_path / "train" / f"{place}.wav", 3)
        table = tmp_path / "train" / f"{place}.txt"
        table.write_text(f"Begin Time (s)\tEnd Time (s)\tSpecies\n1\t2\t{label}\n")
    said = told(annotated(tmp_path).load(), "label")
    assert "the labels 'Tawny Owl' and 'tawny owl' differ only in case" in said
