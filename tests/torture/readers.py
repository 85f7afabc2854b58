"""Every reader of files, with a whole file, and whether what it reads has changed in silence."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
import yaml

from g5.common import sealed
from g5.common.errors import UserError
from g5.config.settings import load
from g5.config.stored import overridden
from g5.detection.job.manifest import Manifest
from g5.embeddings.importing import read_embeddings
from g5.embeddings.usearch_file import read_vectors
from g5.embeddings.vectors import VectorStore
from g5.tracking.checkpoints import save
from g5.tracking.history import COLUMNS, read_history
from g5.tracking.restore import restore
from g5.transfer.heads.saved import SavedHead, fit_head, load_head, make_head, save_head
from g5.web.journal import Journal, JournalEntry
from preprocessing import audio
from preprocessing.annotations import read_events
from preprocessing.audio_rules import READ_ALL
from preprocessing.datasets.splits import read_list
from preprocessing.datasets.unpack import unpack
from preprocessing.recorders.deployments import Deployments
from preprocessing.recordings import UNREADABLE, scan
from preprocessing.store.store import Store
from tests.embeddings.model_files import small_onnx, small_tflite
from tests.labelled_store import facts, make_store
from tests.preprocessing.test_documents_of_others import BATDETECT, SHORT_GRID
from tests.torture.fuzz import Reader
from tests.tracking.test_checkpoints import checkpoint

EVENTS = "file,start_s,end_s,label\na.wav,0.5,1.5,owl\nb.wav,1,2,Tür\nb.wav,3,4,owl\n"
RAVEN = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"
    "Species\n1\tSpectrogram 1\t1\t0.5\t1.5\t200\t4000\towl\n2\tSpectrogram 1\t1\t2\t3\t1\t2\tx\n"
)
DCASE = "Audiofilename,Starttime,Endtime,Q\na.wav,0.5,1.5,POS\na.wav,2,3,UNK\na.wav,4,5,NEG\n"
DEPLOYED = "recorder,site,lat,lon,from,to\nA1,wood,51.5,-0.1,2024-05-01,2024-06-01\n"
LIST = "file,label,split,fold\na.wav,owl,train,0\nb.wav,rail,test,1\n"


def make_readers(folder: Path) -> list[Reader]:
    """A whole file for every reader."""
    readers = [
        Reader(name, file, text.encode(), lambda path: bool(read_events(path)[1]))
        for name, file, text in (
            ("events", "e.csv", EVENTS), ("raven", "r.txt", RAVEN), ("dcase", "d.csv", DCASE),
            ("audacity", "l.txt", "0.5\t1.5\towl\n2\t3\trail\n"),
            ("textgrid", "a.TextGrid", SHORT_GRID), ("batdetect2", "b.json", json.dumps(BATDETECT)),
        )
    ]  # fmt: skip
    readers.append(Reader("list", "l.csv", LIST.encode(), _read_list))
    readers.append(Reader("deployments", "d.csv", DEPLOYED.encode(), _read_deployments))
    readers += _sounds(folder)
    readers += _of_stores(folder)
    readers += _of_checkpoints(folder)
    readers += _of_imports(folder)
    readers += _of_models(folder)
    archive = folder / "a.zip"
    sealed.pack(archive, {"a/b.txt": b"text" * 50, "c.txt": b"more" * 9})
    readers.append(Reader("archive", "a.zip", archive.read_bytes(), _unpack))
    history = pd.DataFrame([[1, 2.0, 2.0, 0.5, 0.5, 0.1]], columns=COLUMNS)
    text = history.to_csv(index=False).encode()
    readers.append(Reader("history", "history.csv", text, lambda path: not len(read_history(path))))
    return readers


def _read_list(path: Path) -> None:
    read_list(path)


def _read_deployments(path: Path) -> None:
    Deployments(path)


def _unpack(path: Path) -> None:
    into = path.parent / "into"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    unpack(path, into)


def _sounds(folder: Path) -> list[Reader]:
    rng, readers = np.random.default_rng(0), []
    for suffix in ("wav", "flac", "ogg", "aiff", "w64", "au", "caf", "mp3"):
        path = folder / f"s.{suffix}"
        soundfile.write(path, 0.1 * rng.standard_normal((3000, 2)), 8000)
        content = path.read_bytes()
        readers.append(Reader(suffix, path.name, content, _hear))
        readers.append(Reader(f"{suffix} header", path.name, content, _hear, head=64))
    return readers


def _hear(path: Path) -> bool:
    table, problems = scan([path], None, READ_ALL)
    for problem in problems:
        if problem.kind == UNREADABLE:
            raise UserError(str(problem))
    for rate_hz in (None, 16000) if len(table) else ():
        for _ in audio.blocks(path, READ_ALL, block_s=1.0, rate_hz=rate_hz):
            pass
    return bool(problems)


def _of_stores(folder: Path) -> list[Reader]:
    """A part of a store among whole ones, a journal, and a part of a detection's manifest."""
    home = folder / "home"
    store = make_store(home, recordings=2, calls=2)
    journal = Journal(store.path)
    for row in range(3):
        clip = (f"rec0{row}.wav", 0.2, 0.5)
        journal.add(JournalEntry(str(row), clip, "label", "owl", 1.0))
    (folder / ".parts").mkdir()
    manifest = Manifest(folder)
    table = pd.DataFrame({"file": ["n.wav"], "start_s": 0.5, "label": "owl", "support": False})
    manifest.done(Path("n.wav"), "key", table, table, duration_s=1.0)
    part = next((folder / ".parts").iterdir())
    files = [path for path in store.path.iterdir() if path.suffix in (".json", ".parquet", ".f16")]
    readers = [
        Reader(f"store{path.suffix}", path.name, path.read_bytes(), _store_with(store.path, path))
        for path in files if path.name != "audio_root.json"
    ]  # fmt: skip
    lines = journal.path.read_bytes()
    readers.append(Reader("journal", "labels.jsonl", lines, _read_journal))
    readers += _of_features(folder / "features")
    readers.append(Reader("manifest", part.name, part.read_bytes(), _read_manifest))
    return readers


def _store_with(whole: Path, changed: Path) -> Callable[[Path], bool]:
    def read(path: Path) -> bool:
        there = path.parent / "x.store"
        shutil.rmtree(there, ignore_errors=True)
        shutil.copytree(whole, there)
        shutil.copyfile(path, there / changed.name)
        found = VectorStore.open(there)
        expected = VectorStore.open(whole)
        same = found.index.equals(expected.index) and np.array_equal(
            np.asarray(found.vectors[:]), np.asarray(expected.vectors[:])
        )
        if not same or found.facts != expected.facts:
            raise AssertionError("vectors or names have changed in silence")
        return False

    return read


def _of_features(home: Path) -> list[Reader]:
    """Parts of a store of features among whole ones."""
    store = Store.open(home, {"front_end": "torture"}, create=True)
    rng = np.random.default_rng(0)
    with store.writer() as writer:
        for key in ("a", "b"):
            writer.add(key, rng.normal(size=(20, 8)).astype(np.float32), {"mean": 0.0})
    return [
        Reader(f"features{path.suffix}", path.name, path.read_bytes(), _features_with(store, path))
        for path in sorted(store.path.iterdir()) if path.suffix in (".json", ".parquet", ".f16")
    ]  # fmt: skip


def _features_with(whole: Store, changed: Path) -> Callable[[Path], bool]:
    expected = {key: whole.get(key).clone() for key in list(whole.keys())}

    def read(path: Path) -> bool:
        there = path.parent / "x.features"
        shutil.rmtree(there, ignore_errors=True)
        shutil.copytree(whole.path, there)
        shutil.copyfile(path, there / changed.name)
        found = Store.at(there, command="g5 features")
        if lost := expected.keys() - set(found.keys()):
            if not found.verify():
                raise AssertionError(f"{', '.join(lost)} lost in silence")
            return True
        for key, array in expected.items():
            if not torch.equal(found.get(key), array):
                raise AssertionError(f"{key} has changed in silence")
        return False

    return read


def _read_journal(path: Path) -> bool:
    found = Journal(path.parent)
    if any(entry.label != "owl" for entry in found.entries.values()):
        raise AssertionError("a label has changed in silence")
    return bool(found.damaged)


def _read_manifest(path: Path) -> bool:
    parts = path.parent / ".parts"
    parts.mkdir(exist_ok=True)
    shutil.copyfile(path, parts / path.name)
    manifest = Manifest(path.parent)
    if manifest.earlier(Path("n.wav"), "key") is None:
        return True
    if manifest.events_of("n.wav")["label"].tolist() != ["owl"]:
        raise AssertionError("an event has changed in silence")
    return False


def _of_checkpoints(folder: Path) -> list[Reader]:
    path = folder / "c.ckpt"
    save(checkpoint(), path)
    head = folder / "x.head"
    model = fit_head(make_head("prototype", "single", seed=0), np.eye(4), np.array([*"aabb"]))
    save_head(head, SavedHead(model, "prototype", "single", ["a", "b"], facts(4)))
    plain, own = load(["arch=v1"]).plain(), checkpoint()["g5"]["config"]
    plain["arch"]["model"], plain["features"] = (
        own["arch"]["model"],
        own["features"]
        | {key: plain["features"][key] for key in plain["features"] if key not in own["features"]},
    )
    stored = yaml.safe_dump(plain).encode()
    return [
        Reader("checkpoint", "c.ckpt", path.read_bytes(), lambda path: not restore(path)),
        Reader("head", "x.head", head.read_bytes(), lambda path: not load_head(path)),
        Reader("configuration", "config.yaml", stored, _read_stored),
    ]


def _read_stored(path: Path) -> None:
    """A configuration that came with a checkpoint, which is whole: any value may be in it."""
    try:
        config = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError):
        return
    if isinstance(config, dict) and config:
        content = checkpoint()
        content["g5"]["config"] = config
        try:
            save(content, path.with_suffix(".ckpt"))
            found = restore(path.with_suffix(".ckpt"))
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        _ = found.settings  # a test of it looks at them first
        overridden(found.config, [], {})


def _of_imports(folder: Path) -> list[Reader]:
    x_ND = np.arange(12, dtype=np.float32).reshape(3, 4)
    names = ["a.wav", "a.wav", "b.wav"]
    frame = pd.DataFrame({"file": names, "start_s": [0.0, 1.0, 0.0]})
    wide = frame.assign(**{f"e{i}": x_ND[:, i] for i in range(4)})
    np.savez(folder / "e.npz", embeddings=x_ND, filename=names)
    wide.to_parquet(folder / "e.parquet")
    wide.to_csv(folder / "e.csv", index=False)
    with sqlite3.connect(folder / "h.sqlite") as database:
        database.executescript(
            "CREATE TABLE hoplite_sources (id INTEGER PRIMARY KEY, dataset, source);"
            "CREATE TABLE hoplite_embeddings (id INTEGER PRIMARY KEY, embedding BLOB,"
            " source_idx INTEGER, offsets BLOB);"
            "INSERT INTO hoplite_sources VALUES (1, 'set', 'x.wav');"
        )
        for key in range(20):
            blobs = (np.ones(4, "<f4") + key).tobytes(), np.array([key], "<f2").tobytes()
            database.execute("INSERT INTO hoplite_embeddings VALUES (?, ?, 1, ?)", (key, *blobs))
    return [
        Reader(f"import.{kind}", f"e.{kind}", (folder / file).read_bytes(), _read_import)
        for kind, file in (
            ("npz", "e.npz"), ("parquet", "e.parquet"), ("csv", "e.csv"), ("sqlite", "h.sqlite"),
        )
    ]  # fmt: skip


def _read_import(path: Path) -> None:
    read_embeddings(path)


def _of_models(folder: Path) -> list[Reader]:
    """What libraries in C++ read."""
    readers = []
    if find_spec("onnx"):
        path = small_onnx(folder / "m.onnx", samples=800, metadata={"sample_rate": "8000"})
        readers.append(Reader("onnx", path.name, path.read_bytes(), _run_onnx))
    if find_spec("ai_edge_litert"):
        path = small_tflite(folder / "m.tflite", samples=200)
        readers.append(Reader("tflite", path.name, path.read_bytes(), _run_tflite))
    if find_spec("usearch"):
        from usearch.index import Index

        index = Index(ndim=4, metric="ip", dtype="f16")
        index.add(np.arange(20), np.random.default_rng(0).normal(size=(20, 4)))
        index.save(str(folder / "usearch.index"))
        content = (folder / "usearch.index").read_bytes()
        readers.append(Reader("usearch", "usearch.index", content, _read_usearch))
    return readers


def _run_onnx(path: Path) -> None:
    from g5.embeddings.encoders.onnx_encoder import OnnxEncoder

    OnnxEncoder(path=str(path), input=None, output=None, embedding_dim=None)(torch.zeros(2, 800))


def _run_tflite(path: Path) -> None:
    from g5.embeddings.encoders.tflite_encoder import TFLiteEncoder

    TFLiteEncoder(path=str(path), output=None, embedding_dim=None)(torch.zeros(2, 200))


def _read_usearch(path: Path) -> None:
    read_vectors(path, list(range(20)))
