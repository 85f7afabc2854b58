"""Databases of perch-hoplite as vectors and an index.

Shapes: N vectors, D their width.
"""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError, brief, unreadable
from g5.embeddings.usearch_file import read_vectors

SQLITE_FILE, INDEX_FILE = "hoplite.sqlite", "usearch.index"
# Types of a window's offsets by their bytes, in the schemas with `windows` and before.
WINDOWS = {2: "<f2", 4: "<f4", 8: "<f8", 16: "<f8"}
EMBEDDINGS = {2: "<f2", 4: "<f2", 8: "<f4", 16: "<f8"}
# (N, D), N rows, and what was left out.
Content = tuple[np.ndarray, pd.DataFrame, list[str]]


def read_hoplite(path: Path) -> Content:
    """Vectors, their index, and what was left out, of any of hoplite's schemas with sources.

    Args:
        path: a folder with ``hoplite.sqlite``, or that file. perch-hoplite's current schema has
            ``windows``, and its vectors in ``usearch.index``.

    Raises:
        UserError: it is no such database, or cannot be read.
    """
    file = path / SQLITE_FILE if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{path}: is a folder without {SQLITE_FILE}; give embeddings or a database")
    try:
        with (
            unreadable(file, advice="give a whole hoplite database"),
            closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database,
        ):
            tables = {
                row[0]: {column[1] for column in database.execute(f"PRAGMA table_info({row[0]})")}
                for row in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
                if str(row[0]).isidentifier()
            }
            if "windows" in tables:
                return _hoplite_windows(file, database)
            if "hoplite_embeddings" in tables:
                return _hoplite_embeddings(file, database, tables)
    except sqlite3.Error as error:
        raise UserError(f"{file}: cannot be read as a database ({brief(error)})") from error
    raise UserError(f"{file}: is no hoplite database (its tables: {', '.join(tables) or 'none'})")


def _hoplite_windows(file: Path, database: sqlite3.Connection) -> Content:
    recordings = database.execute(
        "SELECT r.id, r.filename, r.datetime, d.name, d.project FROM recordings r "
        "LEFT JOIN deployments d ON r.deployment_id = d.id ORDER BY r.id"
    ).fetchall()
    rows = database.execute(
        "SELECT w.id, w.offsets, w.recording_id FROM windows w "
        "JOIN recordings r ON w.recording_id = r.id ORDER BY w.id"
    ).fetchall()
    labels = database.execute(
        "SELECT recording_id, offsets, label FROM annotations WHERE label_type = 1"
    ).fetchall()
    said: dict[tuple[int, bytes], str] = {}
    for key, offsets, label in labels:
        clip = (key, offsets)
        said[clip] = f"{said[clip]};{label}" if clip in said else label
    windows = {(key, offsets) for _, offsets, key in rows}
    elsewhere = len(said.keys() - windows)
    # Files are told apart by their deployments, whose names are unique within a project only.
    projects = Counter(site for site, _ in {row[3:] for row in recordings})
    facts = {
        key: (
            name or "",
            "/".join(filter(None, (project, site))) if projects[site] > 1 else site or "",
            (when or "")[:10],
        )
        for key, name, when, site, project in recordings
    }
    index = pd.DataFrame(
        [
            (facts[key][0], *_offsets(file, offsets, WINDOWS), said.get((key, offsets), ""),
             *facts[key][1:])
            for _, offsets, key in rows
        ],
        columns=["file", "start_s", "end_s", "label", "source", "date"],
    )  # fmt: skip
    notes = [f"{elsewhere} annotations are of no window and are left out"] if elsewhere else []
    return _usearch_vectors(file, [row[0] for row in rows]), index, notes


def _hoplite_embeddings(
    file: Path, database: sqlite3.Connection, tables: dict[str, set[str]]
) -> Content:
    columns = tables["hoplite_embeddings"]
    if "source_idx" not in columns:
        raise UserError(f"{file}: is of hoplite's first schema; open it with perch-hoplite once")
    blob = "e.embedding" if "embedding" in columns else "NULL"
    rows = database.execute(
        f"SELECT e.id, e.offsets, s.dataset, s.source, {blob} FROM hoplite_embeddings e "
        "JOIN hoplite_sources s ON e.source_idx = s.id ORDER BY e.id"
    ).fetchall()
    labels: dict[int, str] = {}
    if "hoplite_labels" in tables:
        labels = dict(
            database.execute("SELECT embedding_id, label FROM hoplite_labels WHERE type = 1")
        )
    if "embedding" in columns:
        x_ND = _vectors(file, [row[4] for row in rows])
    else:
        x_ND = _usearch_vectors(file, [row[0] for row in rows])
    index = pd.DataFrame(
        [
            (source or "", *_offsets(file, offsets, EMBEDDINGS), labels.get(key, ""), str(dataset))
            for key, offsets, dataset, source, _ in rows
        ],
        columns=["file", "start_s", "end_s", "label", "source"],
    )
    return x_ND, index, []


def _offsets(file: Path, blob: object, kinds: dict[int, str]) -> tuple[float, float]:
    """Start and end, seconds; one value is a start."""
    kind = kinds.get(len(blob)) if isinstance(blob, bytes) else None
    if not isinstance(blob, bytes) or kind is None:
        raise UserError(f"{file}: a window's offsets are {blob!r}, where seconds should be")
    values = np.frombuffer(blob, kind).astype(np.float64)
    return float(values[0]), float(values[1]) if len(values) > 1 else float("nan")


def _vectors(file: Path, blobs: list[bytes]) -> np.ndarray:
    """Vectors (N, D) from blobs, which are all fp32 or all fp16.

    Read as the other, numbers spread over many more orders of magnitude.
    """
    if len({len(blob) for blob in blobs}) > 1:
        raise UserError(f"{file}: has embeddings of several widths")
    whole = b"".join(blobs)
    kind = "<f2"
    if blobs and len(blobs[0]) % 4 == 0:
        round_numbers = not np.frombuffer(whole, "<u2")[::2].any()  # of fp32, or nothing but zeros
        kind = "<f4" if round_numbers or _spread(whole, "<f4") <= _spread(whole, "<f2") else kind
    return np.frombuffer(whole, kind).astype(np.float32).reshape(len(blobs), -1 if whole else 0)


def _spread(whole: bytes, kind: str) -> float:
    """Of the magnitudes of numbers, in octaves; infinite where one is no number."""
    values = np.abs(np.frombuffer(whole, kind).astype(np.float64))
    if not np.isfinite(values).all():
        return float("inf")
    return float(np.log2(values[values > 0]).std()) if values.any() else 0.0


def _usearch_vectors(file: Path, keys: list[int]) -> np.ndarray:
    place = file.with_name(INDEX_FILE)
    if not place.is_file():
        raise UserError(f"{place}: is missing; hoplite keeps its vectors there")
    with unreadable(place, advice="give a whole index of usearch"):
        return read_vectors(place, keys)
