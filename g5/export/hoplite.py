"""A store of vectors as a database of perch-hoplite, which `g5 import` reads back.

The tables are those of perch-hoplite 1.0 (`perch_hoplite/db/sqlite_usearch_impl.py`, Apache 2.0): a
folder with ``hoplite.sqlite``, and the vectors in ``usearch.index``.

Shapes: N vectors, D their width.
"""

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.common.atomic import disk_errors
from g5.common.errors import UserError, needs
from g5.common.progress import track
from g5.embeddings.hoplite import INDEX_FILE, SQLITE_FILE
from g5.embeddings.vectors import VectorStore

TABLES = """
CREATE TABLE hoplite_metadata (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE deployments (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,
    project TEXT NOT NULL, latitude REAL, longitude REAL, UNIQUE (name, project));
CREATE TABLE recordings (id INTEGER PRIMARY KEY AUTOINCREMENT, filename TEXT NOT NULL,
    datetime TEXT, deployment_id INTEGER REFERENCES deployments(id) ON DELETE CASCADE,
    UNIQUE (id, deployment_id), UNIQUE (filename, deployment_id));
CREATE TABLE windows (id INTEGER PRIMARY KEY AUTOINCREMENT,
    recording_id INTEGER NOT NULL REFERENCES recordings(id) ON DELETE CASCADE,
    offsets FLOAT_LIST NOT NULL, UNIQUE (id, recording_id, offsets));
CREATE TABLE annotations (id INTEGER PRIMARY KEY AUTOINCREMENT,
    recording_id INTEGER NOT NULL REFERENCES recordings(id) ON DELETE CASCADE,
    offsets FLOAT_LIST NOT NULL, label TEXT NOT NULL, label_type INTEGER NOT NULL,
    provenance TEXT NOT NULL, UNIQUE (id, recording_id, offsets));
CREATE INDEX idx_annotations
    ON annotations(recording_id, offsets, label, label_type, provenance);
CREATE INDEX idx_labels ON annotations(label, label_type, provenance);
CREATE INDEX idx_recordings_deployment_id ON recordings(deployment_id);
CREATE INDEX idx_windows_recording_id ON windows(recording_id);
"""
# Of the index, as perch-hoplite makes it.
METRIC, DTYPE, EXPANSION_ADD, EXPANSION_SEARCH = "IP", "float16", 256, 128
POSITIVE, PROVENANCE = 1, "g5"
ROWS_AT_ONCE = 4096


def export_hoplite(path: Path, folder: Path) -> Path:
    """Write a store as a new database, whole or not at all.

    Raises:
        UserError: the folder is there, the store is empty, or usearch is not installed.
    """
    with needs("--hoplite needs usearch", "index"):
        from usearch.index import Index
    if folder.exists():
        raise UserError(f"{folder}: is there already; name a new folder")
    store = VectorStore.open(path)
    if not len(store):
        raise UserError(f"{path}: holds no vectors")
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = Path(temporary) / "database"
            made.mkdir()
            with closing(sqlite3.connect(made / SQLITE_FILE)) as database:
                _fill(database, store)
                database.commit()
            index: Any = Index(
                ndim=store.facts.embedding_dim, metric=METRIC.lower(), dtype="f16",
                expansion_add=EXPANSION_ADD, expansion_search=EXPANSION_SEARCH,
            )  # fmt: skip
            firsts = range(0, len(store), ROWS_AT_ONCE)
            for first in track(firsts, total=len(firsts), label="indexing", unit="blocks"):
                stop = min(first + ROWS_AT_ONCE, len(store))
                index.add(np.arange(first, stop) + 1, np.asarray(store.vectors[first:stop]))
            index.save(str(made / INDEX_FILE))
            os.replace(made, folder)
    labels = np.count_nonzero(store.index["label"].astype(str).to_numpy() != "")
    print(
        f"{folder}: {len(store):,} windows of {store.index['file'].nunique():,} recordings, "
        f"{labels:,} with labels, as a database of perch-hoplite"
    )
    return folder


def _fill(database: sqlite3.Connection, store: VectorStore) -> None:
    """The tables of a database; windows are numbered from 1 in the order of the store."""
    facts = store.facts
    database.executescript(TABLES)
    config = {"embedding_dim": facts.embedding_dim, "dtype": DTYPE, "metric_name": METRIC,
              "expansion_add": EXPANSION_ADD, "expansion_search": EXPANSION_SEARCH}  # fmt: skip
    made_by = {"encoder": facts.encoder, "sample_rate": facts.sr, "window_s": facts.window_s}
    rows = [("usearch_config", json.dumps(config)), ("g5", json.dumps(made_by))]
    database.executemany("INSERT INTO hoplite_metadata VALUES (?, ?)", rows)
    table = store.index.astype(dict.fromkeys(("file", "label", "source", "date"), str))
    sites = {name: number for number, name in enumerate(sorted({*table["source"]} - {""}), 1)}
    database.executemany(
        "INSERT INTO deployments VALUES (?, ?, ?, NULL, NULL)",
        [(number, name, store.path.stem) for name, number in sites.items()],
    )
    groups: Any = table.groupby(["file", "source"], sort=False)
    recording_N = groups.ngroup().to_numpy() + 1
    firsts = groups.head(1)[["file", "date", "source"]].itertuples(index=False, name=None)
    database.executemany(
        "INSERT INTO recordings VALUES (?, ?, ?, ?)",
        [
            (number, file, f"{date}T00:00:00" if date else None, sites.get(source))
            for number, (file, date, source) in enumerate(firsts, 1)
        ],
    )
    places = list(zip(recording_N.tolist(), _offsets(table, facts.window_s), strict=True))
    database.executemany("INSERT INTO windows VALUES (NULL, ?, ?)", places)
    database.executemany(
        "INSERT INTO annotations VALUES (NULL, ?, ?, ?, ?, ?)",
        [
            (*place, label, POSITIVE, PROVENANCE)
            for place, labels in zip(places, table["label"], strict=True)
            for label in filter(None, labels.split(";"))
        ],
    )


def _offsets(table: pd.DataFrame, window_s: float) -> Iterator[bytes]:
    """Start and end of each row, s; an end that is not known is a window after the start."""
    start_N = table["start_s"].to_numpy(np.float64)
    end_N = table["end_s"].to_numpy(np.float64)
    end_N = np.where(np.isfinite(end_N), end_N, start_N + window_s)
    return (row.tobytes() for row in np.stack([start_N, end_N], axis=1).astype("<f8"))
