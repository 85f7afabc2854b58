"""`g5 embed`, `classify`, `predict`, `encoders probe` on small recordings."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from archs.v1.arch import ProtoNetV1
from g5.common.errors import UserError
from g5.embeddings.embedding import (
    EmbedSettings,
    date_of,
    embed_recordings,
    embed_stretch,
    source_of,
)
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.vectors import EncoderFacts, VectorStore, load
from g5.embeddings.windows import window_starts
from g5.transfer.label_table import read_labels
from g5.transfer.labels import examples, rows_of_labels
from preprocessing.frontend import LogMel
from preprocessing.normalize import Normalize, scalar_stats
from tests.conftest import ROOT, run_g5

RATE_HZ = 8000
ENCODER = "tests.user_encoders.Good"
HEADS = "classify.heads=[linear,prototype,forest]"


def tone(path: Path, seconds: float, hz: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.3 * np.sin(2 * np.pi * hz * t) + 0.01 * rng.normal(size=len(t))
    soundfile.write(path, wave, RATE_HZ)


@pytest.fixture
def field(tmp_path, monkeypatch) -> Path:
    """Eighteen recordings of three tones at three sites, and tables of labels."""
    rows = []
    for number in range(18):
        site, kind = number // 6, number % 3
        file = f"site{site}/2024050{site + 1}_{number:06d}.wav"
        tone(tmp_path / "rec" / file, 0.4 + 0.15 * number, 500.0 * (kind + 1), number)
        rows.append((file, "abc"[kind], kind / 2))
    for name, column in (("labels", 1), ("ratings", 2)):
        with open(tmp_path / f"{name}.csv", "w", newline="") as handle:
            header = ("file", "label" if column == 1 else "rating")
            csv.writer(handle).writerows([header, *((row[0], row[column]) for row in rows)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_windows_and_names(field):
    assert run_g5(["embed", ENCODER, "rec", "-o", "birds.store"]) == 0
    vectors, index = load("birds.store")
    assert vectors.shape == (len(index), 6)
    assert len(set(index["file"])) == 18
    one: Any = index[index["file"] == "site2/20240503_000017.wav"]
    # 2.95 s: five windows of half a second, and a rest of 0.45 s.
    assert one["start_s"].tolist() == [0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert one["end_s"].iloc[-1] == pytest.approx(2.95)
    assert set(one["date"]) == {"2024-05-03"}
    assert set(one["source"]) == {"site2"}
    assert VectorStore.open("birds.store").audio_root == field / "rec"


def test_a_vector_is_what_the_encoder_gives(field):
    encoder = load_encoder(ENCODER)
    run_g5(["embed", ENCODER, "rec", "-o", "birds.store", "embed.hop_s=0.25", "embed.block_s=1"])
    vectors, index = load("birds.store")
    row = int(np.flatnonzero(index["start_s"].to_numpy() == 1.25)[-1])
    file = field / "rec" / str(index["file"].iloc[row])
    samples, _ = soundfile.read(file, dtype="float32", start=10000, stop=14000)
    with torch.no_grad():
        expected = encoder.forward(torch.from_numpy(samples)[None])[0].numpy()
    np.testing.assert_allclose(vectors[row], expected, atol=2e-3)


@pytest.mark.parametrize("block_s", [0.5, 1.0, 60.0])
def test_blocks_do_not_show_in_waveform_windows(field, block_s):
    for name, size in (("a", block_s), ("b", 7.5)):
        run_g5(["embed", ENCODER, "rec/site2", "-o", f"{name}.store", f"embed.block_s={size}"])
    np.testing.assert_allclose(np.asarray(load("a.store")[0]), np.asarray(load("b.store")[0]), 1e-3)
    pd.testing.assert_frame_equal(load("a.store")[1], load("b.store")[1])


def mel_encoder(mode: str) -> LoadedEncoder:
    """v1 with random weights, as a checkpoint would be loaded."""
    torch.manual_seed(0)
    front_end = LogMel(
        sr=RATE_HZ, n_fft=256, hop_mel=100, n_mels=16, fmin=50, fmax=4000, floor_db=-100
    )
    model = ProtoNetV1(
        channels=[4, 8], dropout=0.0, distance="euclidean", cosine_scale=10.0, normalize="none"
    ).eval()
    normalize = Normalize(mode=mode, n_mels=16)
    return LoadedEncoder("v1", model, 8, RATE_HZ, 0.5, front_end, normalize, "checkpoint", {})


def embedded(encoder: LoadedEncoder, name: str, **changes: Any) -> np.ndarray:
    """Vectors of ``rec/site2`` at a hop that is no multiple of a frame's."""
    settings = {"hop_s": 0.33, "batch_size": 4, "block_s": 60.0, "device": "cpu", **changes}
    place = Path("rec/site2").absolute()
    store = VectorStore.create(f"{name}.store", encoder.facts(), audio_root=place)
    files = sorted(place.glob("*.wav"))
    embed_recordings(encoder, store, files, place, EmbedSettings(**settings))
    return np.asarray(load(f"{name}.store")[0])


@pytest.mark.parametrize("mode", ["recording", "sample"])
def test_neither_blocks_nor_threads_show_in_windows_of_features(field, mode):
    encoder, threads = mel_encoder(mode), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        whole = embedded(encoder, "whole")
        torch.set_num_threads(3)
        np.testing.assert_array_equal(embedded(encoder, "blocks", block_s=0.37), whole)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(embedded(encoder, "batches", batch_size=1), whole, atol=2e-3)


def test_windows_of_features_are_those_of_training(field):
    """Cut from the features of the whole recording, normalised by its mean and deviation."""
    encoder = mel_encoder("recording")
    assert encoder.front_end is not None
    assert encoder.normalize is not None
    vectors, index = embedded(encoder, "own"), load("own.store")[1]
    one = index["file"] == "20240503_000017.wav"
    samples, _ = soundfile.read("rec/site2/20240503_000017.wav", dtype="float32")
    with torch.no_grad():
        x_MT = encoder.front_end(torch.from_numpy(samples)).half().float()
        stats_12 = scalar_stats(x_MT[None, None])
        for row, start_s in enumerate(index["start_s"][one].tolist()[:-1]):
            first = round(start_s * RATE_HZ / 100)
            x_11MT = x_MT[None, None, :, first : first + 40]
            expected = encoder.module(encoder.normalize(x_11MT, stats_12))[0]
            np.testing.assert_allclose(vectors[one][row], expected, atol=2e-3)


def test_a_stretch_is_embedded_as_its_recording_is(field):
    encoder = mel_encoder("recording")
    vectors, index = embedded(encoder, "own", hop_s=None), load("own.store")[1]
    row = int(np.flatnonzero(index["file"] == "20240503_000017.wav")[2])
    found = embed_stretch(encoder, "rec/site2/20240503_000017.wav", 1.0, 1.5)
    # Frames at the edges of the stretch see silence beyond it.
    assert np.corrcoef(found, vectors[row])[0, 1] > 0.999


def test_windows_may_leave_gaps():
    assert window_starts(100, 10, 30).tolist() == [0, 30, 60, 90]
    assert window_starts(95, 10, 30).tolist() == [0, 30, 60, 90]
    assert window_starts(94, 10, 30).tolist() == [0, 30, 60]


def test_it_goes_on_where_it_stopped_and_says_what_is_damaged(field, capsys):
    bad = field / "rec" / "site0" / "bad.wav"
    bad.write_bytes(b"hello")
    cut = field / "rec" / "site1" / "cut.wav"
    tone(cut, 3.0, 700, 0)
    os.truncate(cut, 20_000)
    run_g5(["embed", ENCODER, "rec/site0", "-o", "birds.store", "--audio-root", "rec"])
    assert "6 recordings embedded, 6 in birds.store" in capsys.readouterr().out
    assert run_g5(["embed", ENCODER, "rec", "-o", "birds.store"]) == 1
    out = capsys.readouterr().out
    assert "13 recordings embedded, 19 in birds.store" in out
    assert "left out: " in out
    assert "bad.wav: cannot be read as sound" in out
    assert "1 of 20 recordings end early; read to their end: cut.wav" in out
    assert run_g5(["embed", ENCODER, "rec", "-o", "birds.store"]) == 1
    assert "0 recordings embedded, 19 in" in capsys.readouterr().out
    assert run_g5(["embed", ENCODER, "rec", "-o", "x.store", "audio.broken=stop"]) == 1
    assert "bad.wav: cannot be read as sound" in capsys.readouterr().err
    bad.unlink()
    assert run_g5(["embed", ENCODER, "rec", "-o", "x.store", "audio.broken=stop"]) == 1
    assert "cut.wav: the header promises" in capsys.readouterr().err
    assert run_g5(["embed", ENCODER, "rec", "-o", "x.store", "audio.broken=skip"]) == 0
    assert "18 recordings embedded" in (out := capsys.readouterr().out)
    assert "cut.wav: the header promises" in out
    tone(field / "rec" / "site0" / "20240501_000000.wav", 1.0, 900, 0)
    run_g5(["embed", ENCODER, "rec", "-o", "birds.store"])
    assert "has changed since it was embedded" in capsys.readouterr().out


def test_other_encoders_and_empty_places_are_refused(field, capsys):
    run_g5(["embed", ENCODER, "rec", "-o", "birds.store"])
    assert run_g5(["embed", ENCODER, "rec", "-o", "birds.store", "encoder.width=7"]) == 1
    assert "two encoders do not mix" in capsys.readouterr().err
    (field / "empty").mkdir()
    assert run_g5(["embed", ENCODER, "empty", "-o", "x.store"]) == 1
    assert "no recordings there" in capsys.readouterr().err
    assert run_g5(["embed", ENCODER, "nowhere", "-o", "x.store"]) == 1
    assert run_g5(["embed", ENCODER, "rec", "-o", "labels.csv"]) == 1
    assert "is a file" in capsys.readouterr().err
    assert run_g5(["embed", "tests.user_encoders.Raises", "rec", "-o", "x.store"]) == 1
    assert "raises RuntimeError" in capsys.readouterr().err
    assert run_g5(["embed", ENCODER, "rec", "-o", "x.store", "embed.hop=1"]) == 1
    assert "did you mean embed.hop_s" in capsys.readouterr().err
    assert run_g5(["embed", "tests.user_encoders.Infinite", "rec", "-o", "inf.store"]) == 1
    assert "gives NaN or infinity" in capsys.readouterr().out


def test_killed_it_keeps_whole_recordings(field):
    for number in range(20):
        tone(field / "many" / f"{number:03d}.wav", 10.0, 400 + number, number)
    command = [
        sys.executable,
        str(ROOT / "main.py"),
        "embed",
        ENCODER,
        "many",
    ]
    command += ["-o", "many.store", "embed.hop_s=0.01"]
    job = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(field.glob("many.store/*.f16")) and time.monotonic() < deadline:
        time.sleep(0.05)
    job.send_signal(signal.SIGINT)
    assert job.wait(60) != 0
    before = len(load("many.store")[1])
    assert run_g5(["embed", ENCODER, "many", "-o", "many.store", "embed.hop_s=0.01"]) == 0
    index = load("many.store")[1]
    assert len(index) == 20 * 951 >= before
    assert not index.duplicated(["file", "start_s"]).any()


def test_classify_and_predict(field, capsys):
    run_g5(["embed", "handcrafted", "rec", "-o", "birds.store"])
    run_g5(["embed", ENCODER, "rec", "-o", "own.store"])
    capsys.readouterr()
    command = ["classify", "birds.store", "own.store", "--labels", "labels.csv", HEADS]
    assert run_g5(command) == 0
    out = capsys.readouterr().out
    assert "18 labels of 3 classes from 3 sources, 3 folds" in out
    assert out.count("birds.store ") >= 3
    assert " best" in out
    assert "18 labels: under 1,000, fine-tuning the encoder is unlikely to pay" in out
    head = next(field.glob("*.head"))
    store = head.with_suffix(".store")
    command = ["predict", str(head), str(store), "-o", "all.csv"]
    assert run_g5([*command, "--rows", "windows"]) == 0
    table = pd.read_csv("all.csv")
    assert list(table.columns) == ["file", "start_s", "end_s", "label", "probability"]
    assert len(table) == len(load(store)[1])
    command = ["predict", str(head), "rec/site1", "-o", "some.csv", "--top", "4"]
    assert run_g5([*command, "--rows", "windows"]) == 0
    top = pd.read_csv("some.csv")
    assert top["rank"].tolist() == [1, 2, 3, 4]
    assert top["probability"].is_monotonic_decreasing
    assert run_g5(["predict", str(head), str(store), "-o", "f.csv", "--rows", "files"]) == 0
    files = pd.read_csv("f.csv")
    assert len(set(files["file"])) == len(files)
    assert sum(files["windows"].tolist()) == len(table)
    assert set(files["label"]) <= {"a", "b", "c"}
    assert run_g5(["predict", str(head), str(store), "-o", "e.csv"]) == 0
    assert len(pd.read_csv("e.csv")) <= len(table)
    assert f"{len(table)} windows; a row for each: --rows windows" in capsys.readouterr().out
    other = "own.store" if store.name == "birds.store" else "birds.store"
    assert run_g5(["predict", str(head), other, "-o", "x.csv"]) == 1
    assert "embed with that encoder" in capsys.readouterr().err


def test_ratings_and_several_labels(field, capsys):
    run_g5(["embed", "handcrafted", "rec", "-o", "birds.store"])
    heads = "classify.heads=[linear,forest,tests.user_encoders.GoodHead]"
    rated = ["classify", "birds.store", "--labels", "ratings.csv", "classify.task=rating", heads]
    assert run_g5([*rated, "-o", "rating.head"]) == 0
    assert "forest" not in capsys.readouterr().out
    assert run_g5(["predict", "rating.head", "birds.store", "-o", "r.csv", "--top", "3"]) == 0
    assert pd.read_csv("r.csv")["rating"].between(0, 1).all()
    capsys.readouterr()
    rated[-1] = "classify.heads=[linear]"
    assert run_g5([*rated, "head._target_=tests.user_encoders.GoodHead", "-o", "own.head"]) == 0
    assert "user_encoders.GoodHead" in capsys.readouterr().out
    for name, words in (("Nobody", "has no class Nobody"), ("FlatHead", "(8, 1) is needed")):
        assert run_g5([*rated, f"head._target_=tests.user_encoders.{name}", "-o", "x.head"]) == 1
        assert words in capsys.readouterr().err
    table = pd.read_csv("labels.csv")
    table["label"] = [{"a": "a", "b": "a;b", "c": ""}[label] for label in table["label"]]
    table.to_csv("several.csv", index=False)
    several = ["classify", "birds.store", "--labels", "several.csv", "classify.task=multi"]
    assert run_g5([*several, "classify.heads=[linear]", "-o", "several.head"]) == 0
    command = ["predict", "several.head", "birds.store", "-o", "s.csv"]
    assert run_g5([*command, "--rows", "windows"]) == 0
    assert {"label", "p_a", "p_b"} <= set(pd.read_csv("s.csv").columns)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("file,label\nnowhere.wav,a\n", "no label has an embedding"),
        (
            "file,label\n20240501_000000.wav,a\n20240501_000001.wav,a\n",
            "two different ones are needed",
        ),
        ("name,label\nx.wav,a\n", "it needs `file` and `label`"),
        ("file,label\n", "has no rows"),
        ("", "cannot be read as a CSV or another table: it is empty"),
        ("file,label\n20240501_000000.wav\n", "row 2: the label is empty"),
        ("file,label,start_s,end_s\nx.wav,a,5,1\n", "row 2: ends at 1 s, before it starts at 5 s"),
        ("file,label,end_s\nx.wav,a,inf\n", "row 2: end_s is 'inf'"),
        ("file,rating\n20240501_000000.wav,0.5\n", "`rating` is for task=rating"),
        ("file,label,start_s\n20240501_000000.wav,a,soon\n", "row 2: start_s is 'soon'"),
        (
            "file,label\n20240501_000000.wav,a\n20240501_000001.wav,b\n",
            "all labels come from one source",
        ),
    ],
)
def test_bad_labels_are_said(field, rows, words, capsys):
    run_g5(["embed", ENCODER, "rec", "-o", "birds.store"])
    Path("bad.csv").write_text(rows)
    assert run_g5(["classify", "birds.store", "--labels", "bad.csv", HEADS]) == 1
    assert words in capsys.readouterr().err


def test_a_table_of_labels_and_ratings_gives_each_task_its_own(tmp_path):
    both, names, ratings = tmp_path / "both.csv", tmp_path / "names.csv", tmp_path / "ratings.csv"
    both.write_text("file,label,rating\nx.wav,owl,0.2\n")
    names.write_text("file,label\nx.wav,owl\n")
    ratings.write_text("file,rating\nx.wav,0.3\n")
    for purpose in ("single", "multi", "anything"):
        assert read_labels(both, purpose)["label"].tolist() == ["owl"]
    assert read_labels(both, "rating")["label"].tolist() == ["0.2"]
    assert read_labels(ratings, "rating")["label"].tolist() == ["0.3"]
    assert read_labels(ratings)["label"].tolist() == ["0.3"]
    with pytest.raises(UserError, match=r"`label` holds no numbers \(row 2: 'owl'\)"):
        read_labels(names, "rating")
    names.write_text("file,label\nx.wav,0.4\n")
    assert read_labels(names, "rating")["label"].tolist() == ["0.4"]
    # As Excel writes it, and pandas with na_rep.
    names.write_text("file;label;start_s\nx.wav;owl;nan\n", encoding="utf-8-sig")
    assert np.isnan(read_labels(names)["start_s"].iloc[0])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("file,label\nx.wav,owl,no\ny.wav,wren,no\n", "rows 2, 3: has 3 fields, where the header"),
        ("file,Label,label \nx.wav,owl,wren\n", "has the column Label twice"),
        ("file,label,label\nx.wav,owl,wren\n", "has the column label twice"),
        ("file,label\n", "has no rows"),
    ],
)
def test_tables_whose_cells_are_of_no_one_column_are_refused(rows, words, tmp_path):
    (tmp_path / "labels.csv").write_text(rows)
    with pytest.raises(UserError, match=words):
        read_labels(tmp_path / "labels.csv")
    # A separator at the end of a row is no cell.
    (tmp_path / "labels.csv").write_text("file,label\nx.wav,owl,\n")
    assert read_labels(tmp_path / "labels.csv")["label"].tolist() == ["owl"]
    # Columns that nobody reads may be what they like.
    (tmp_path / "labels.csv").write_text("file,label,note,note\nx.wav,owl,a,b\n")
    assert read_labels(tmp_path / "labels.csv")["label"].tolist() == ["owl"]


def test_calls_of_annotation_tables_are_labels(tmp_path):
    facts = EncoderFacts("e", "e", 2, RATE_HZ, 1.0)
    store = VectorStore.create(tmp_path / "s.store", facts)
    times = {"start_s": [0.0, 1.0, 0.0], "end_s": [1.0, 2.0, 1.0]}
    store.ingest(np.eye(3, 2), pd.DataFrame({"file": ["a/x.wav", "a/x.wav", "b/y.wav"], **times}))
    track = tmp_path / "x.txt"
    track.write_text("0.1\t0.9\towl\n1.1\t1.9\twren\n")
    known, notes = rows_of_labels(store, read_labels(track, "single"))
    assert (known, notes) == ({0: "owl", 1: "wren"}, [])
    dcase, head = tmp_path / "x.csv", "Audiofilename,Starttime,Endtime,"
    dcase.write_text(f"{head}OWL,TIT\ny.wav,0,1,POS,POS\nx.wav,1,2,NEG,UNK\n")
    table = read_labels(dcase)
    assert table["label"].tolist() == ["OWL", "TIT"]
    assert table.index.is_unique
    dcase.write_text(f"{head}OWL,TIT\nx.wav,0,1,maybe,NEG\n")
    with pytest.raises(UserError, match="row 2: OWL is 'MAYBE'"):
        read_labels(dcase)
    dcase.write_text("Start (s),End (s),Common name,Confidence,File\n0,1,Owl,0.9,x.wav\n")
    assert read_labels(dcase, "single").loc[2, "label"] == "Owl"


def test_blank_labels_erase_none(tmp_path):
    facts = EncoderFacts("e", "e", 2, RATE_HZ, 1.0)
    store = VectorStore.create(tmp_path / "s.store", facts)
    index = pd.DataFrame({"file": ["a/x.wav", "b/x.wav", "y.wav"]})
    store.ingest(np.eye(3, 2), index)
    (tmp_path / "labels.csv").write_text(
        "file,label\ny.wav,owl\ny.wav,\nx.wav,wren\nz.wav,wren\nb/x.wav,tit\n"
    )
    table = read_labels(tmp_path / "labels.csv")
    known, notes = rows_of_labels(store, table)
    assert known == {2: "owl", 1: "tit"}
    assert notes == [
        "labels: 1 label of no file in the store, and is left out: row 5 (z.wav)",
        "labels: 1 label of a name that several files have, and is left out: row 4 (x.wav)",
    ]
    named: Any = table[table["label"] != ""]
    assert examples(store, named, "single").files.tolist() == ["y.wav", "b/x.wav"]


def test_labels_left_out_and_lone_classes_are_said(field, capsys):
    run_g5(["embed", ENCODER, "rec", "-o", "birds.store"])
    with open("labels.csv", "a") as handle:
        handle.write("nowhere.wav,a\nsite0/20240501_000002.wav,lonely\n")
    assert run_g5(["classify", "birds.store", "--labels", "labels.csv", HEADS]) == 0
    out = capsys.readouterr().out
    assert "1 label of no file in the store, and is left out: row 20 (nowhere" in out
    assert "1 class with a single label (lonely)" in out


def test_labels_with_times_take_the_windows_under_them(field):
    run_g5(["embed", ENCODER, "rec", "-o", "birds.store"])
    Path("timed.csv").write_text(
        "file,label,start_s,end_s,source\n"
        "site2/20240503_000017.wav,a,0.9,1.6,x\n"
        "20240503_000016.wav,b,0.1,0.2,y\n"
    )
    store = VectorStore.open("birds.store")
    found = examples(store, read_labels("timed.csv"), "single")
    index = store.index
    inside = (index["file"] == "site2/20240503_000017.wav") & (index["start_s"] == 1.0)
    np.testing.assert_allclose(found.x_ND[0], store.vectors[inside.to_numpy()][0], rtol=1e-3)
    assert found.groups.tolist() == ["x", "y"]
    assert found.y.tolist() == ["a", "b"]


def test_folders_named_by_class_do_not_make_groups(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [("file", "label")]
    for number in range(12):
        name = "owl" if number % 2 else "wren"
        tone(tmp_path / "rec" / name / f"{number}.wav", 0.5, 500 * (1 + number % 2), number)
        rows.append((f"{name}/{number}.wav", name))
    with open("labels.csv", "w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    run_g5(["embed", ENCODER, "rec", "-o", "birds.store"])
    found = examples(VectorStore.open("birds.store"), read_labels("labels.csv"), "single")
    assert len(set(found.groups)) == 12


def test_the_probe(field, capsys):
    run_g5(["embed", "mel_cnn", "rec", "-o", "birds.store"])
    capsys.readouterr()
    assert run_g5(["encoders", "probe", "birds.store"]) == 0
    lines = capsys.readouterr().out.splitlines()
    score = {line.split()[0]: float(line.split()[1]) for line in lines[1:]}
    assert score["centroid_khz"] > 0.8


@pytest.mark.parametrize(
    "key", ["embed.hop_s", "embed.block_s", "engine.part_s", "engine.unit_s", "encoder.window_s"]
)
def test_sound_is_not_cut_into_billions_of_pieces(field, key, capsys):
    assert run_g5(["embed", ENCODER, "rec", "-o", "x.store", f"{key}=1e-12"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{key}: must be " in line
    assert "0.001" in line
    assert not (field / "x.store").exists()


def test_small_things():
    assert window_starts(100, 40, 40).tolist() == [0, 40, 80]
    assert window_starts(95, 40, 40).tolist() == [0, 40]
    assert window_starts(10, 40, 40).tolist() == [0]
    assert date_of("a/20240501_053000.wav") == "2024-05-01"
    assert date_of("a/rec-2024-05-01.wav") == "2024-05-01"
    assert date_of("a/120240501.wav") == ""
    assert source_of("site/a.wav") == "site"
    assert source_of("a.wav") == "a"
