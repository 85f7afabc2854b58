"""Labels from a table onto the rows of a store of embeddings."""

from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.annotations import read_clips, read_events
from preprocessing.annotations.table import UnknownFormat
from preprocessing.errors import UserError

# A window has a call's label if the call covers so much of it, or it so much of the call.
COVER = 0.5
NAMED = 3  # files that an error names


def labels_of(index: pd.DataFrame, path: str | Path) -> tuple[list[str], list[str]]:
    """A label for each row of a store's index, "" where there is none; and what to tell the user.

    Args:
        index: of a store.
        path: any annotation table, or a list ``file,label`` for clips from end to end. Files are
            found by their name with folders, or without where that is clear.

    Raises:
        UserError: no such table, or none of its files is in the store.
    """
    table, notes = _table(Path(path))
    rows_of = _rows_by_file(index)
    files = index["file"].astype(str).to_numpy()
    start_N = index["start_s"].to_numpy(np.float64)
    end_N = np.nan_to_num(index["end_s"].to_numpy(np.float64), nan=np.inf)
    best_N, label_N = np.zeros(len(index)), np.full(len(index), "", dtype=object)
    absent: list[str] = []
    for event in table.to_dict("records"):
        file, from_s, to_s = str(event["file"]), event["start_s"], event["end_s"]
        rows = [row for row in rows_of.get(_name(file), []) if _same_file(files[row], file)]
        if not rows:
            absent.append(file)
        for row in rows:
            cover = 1.0 if to_s != to_s else _cover(start_N[row], end_N[row], from_s, to_s)
            if cover >= COVER and cover > best_N[row]:
                best_N[row], label_N[row] = cover, str(event["label"])
    if absent and len(absent) == len(table):
        raise UserError(f"{path}: none of its files is in the store ({_some(absent)})")
    if absent:
        notes.append(f"{path}: {len(absent)} rows are of files not in the store ({_some(absent)})")
    if not (label_N != "").any():
        raise UserError(f"{path}: no label falls on a clip of the store; compare the times")
    return [str(label) for label in label_N], notes


def _table(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Events with a label; ``end_s`` is NaN for whole files."""
    try:
        rows, problems = read_clips(path)
        table = pd.DataFrame({name: rows[name] for name in ("audio", "start_s", "end_s", "label")})
        table = table.rename(columns={"audio": "file"})
        header = path.open(encoding="utf-8-sig", errors="replace").readline().casefold()
        if "start" in header:
            raise UnknownFormat("has times")
    except UnknownFormat:
        table, problems = read_events(path)
        table = table.loc[table["status"] == "POS"]
    return table, [str(problem) for problem in problems]


def _rows_by_file(index: pd.DataFrame) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, file in enumerate(index["file"].astype(str)):
        rows.setdefault(_name(file), []).append(row)
    return rows


def _name(file: str) -> str:
    """A file's name without folders and suffix."""
    name = file.replace("\\", "/").rpartition("/")[2]
    return name.rpartition(".")[0] or name


def _same_file(one: str, other: str) -> bool:
    """Whether two paths agree as far as both have folders."""
    a, b = (text.replace("\\", "/").strip("/").split("/")[:-1][::-1] for text in (one, other))
    return all(x == y for x, y in zip(a, b, strict=False))


def _cover(start_s: float, end_s: float, from_s: float, to_s: float) -> float:
    shared = min(end_s, to_s) - max(start_s, from_s)
    shorter = min(end_s - start_s, to_s - from_s)
    return shared / shorter if shorter > 0 else 0.0


def _some(names: list[str]) -> str:
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:NAMED]) + (", ..." if len(unique) > NAMED else "")
