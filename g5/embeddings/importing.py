"""Embeddings that other programs made, as vectors and an index: CSV, npz, npy, Parquet, hoplite.

Shapes: N vectors, D their width; F files and S segments of BirdNET's npz.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.common.errors import UserError, brief, unreadable
from g5.common.words import counted
from g5.embeddings.hoplite import read_hoplite
from g5.embeddings.vectors import INDEX_COLUMNS, VectorStore, complete_index
from g5.web.journal import clip_of
from preprocessing.annotations import decode, ours, read_texts
from preprocessing.annotations.columns import COLUMNS
from preprocessing.annotations.numbers import as_float, settled

VECTOR_NAMES = ("embedding", "embeddings", "vector", "vectors", "features", "emb")
# A numbered column: e0, emb_12, 511, feature-3.
NUMBERED = re.compile(r"^(?P<stem>.*?)[ _.-]?(?P<number>\d+)$")
SEPARATORS = re.compile(r"[\s,;]+")


@dataclass
class Imported:
    """What a file holds.

    Attributes:
        x_ND: fp32.
        index: N rows with ``file`` and whatever else is known.
        notes: what was left out, for the user.
    """

    x_ND: np.ndarray
    index: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def read_embeddings(path: Path, table: Path | None = None) -> Imported:
    """Read embeddings of any of the formats above.

    * CSV and Parquet: a column for the file, perhaps start, end, label, source, date (by any of
      `NAMES`), and the embedding as one column of lists or as numbered columns; BirdNET-Analyzer's
      ``*.birdnet.embeddings.txt`` (start, end, values).
    * npz: a 2-D array and 1-D arrays of the same names, or what the birdnet package writes.
    * npy: the vectors; ``table`` (or the CSV or Parquet file beside it) says what they are.
    * hoplite: a folder with ``hoplite.sqlite``, or that file.

    Raises:
        UserError: it cannot be read, or has no vectors, no file names, a NaN, rows of different
            widths, or tables of different lengths.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    with unreadable(path, advice="give whole embeddings"):
        return _checked(path, _read(path, table))


def _read(path: Path, table: Path | None) -> Imported:
    suffix = path.suffix.casefold()
    if path.is_dir() or suffix in (".sqlite", ".db", ".sqlite3"):
        x_ND, index, notes = read_hoplite(path)
        return Imported(x_ND, index.set_index(pd.RangeIndex(1, len(index) + 1)), notes)
    if suffix == ".npz":
        return _npz(path)
    if suffix == ".npy":
        return _npy(path, table)
    if suffix == ".parquet":
        return _from_frame(path, _parquet(path))
    if suffix in (".csv", ".tsv", ".txt"):
        return _text(path)
    raise UserError(
        f"{path}: {suffix or 'a file without suffix'} is no format of embeddings; g5 reads "
        ".csv, .tsv, .txt, .npz, .npy with a .csv, .parquet, and hoplite databases"
    )


def with_unique_names(found: Imported, store: VectorStore) -> tuple[pd.DataFrame, list[str]]:
    """The index of what was read, with another file name for every recording, and a note of those
    that are called otherwise now.

    A clip (file, start, end) that comes from two sources with two vectors is of two recordings:
    their files get the source before them, like a folder. What is in the store keeps its name.
    """
    index = complete_index(found.index).astype({"file": str, "source": str})
    known = store.index[INDEX_COLUMNS].astype({"file": str, "source": str})
    both: Any = pd.concat([known, index], ignore_index=True)
    shared = _shared(both, store, found.x_ND)
    places = set(zip(known["file"], known["source"], strict=True))
    names = {}
    for file, source in sorted(set(zip(index["file"], index["source"], strict=True)) - places):
        name = _below(source, file)
        if name != file and source and (file in shared or (name, source) in places):
            names[file, source] = name
    if not names:
        return index, []
    index["file"] = [
        names.get(pair, pair[0]) for pair in zip(index["file"], index["source"], strict=True)
    ]
    first = next(iter(names))
    return index, [
        f"{counted(len(names), 'file')} called as others of another source: the source stands "
        f"before the name now: {first[0]} from {first[1]} is {names[first]}"
    ]


def _shared(both: pd.DataFrame, store: VectorStore, x_ND: np.ndarray) -> set[str]:
    """Files with a clip that has several sources and several vectors, in the store and after."""
    clip = ["file", "start_s", "end_s"]
    sited: Any = both[both["source"] != ""]
    once: Any = sited.drop_duplicates([*clip, "source"])
    once = once[once.duplicated(clip, keep=False)]
    vectors: dict[tuple, set[bytes]] = {}
    for row, *place in once[clip].itertuples(name=None):
        x_D = store.vectors[[row]][0] if row < len(store) else x_ND[row - len(store)]
        vectors.setdefault(clip_of(*place), set()).add(np.asarray(x_D, np.float16).tobytes())
    return {file for (file, _, _), found in vectors.items() if len(found) > 1}


def _below(source: str, file: str) -> str:
    """``source/file``; a folder that ends the one and begins the other is there once."""
    last = f"{source.rpartition('/')[2]}/"
    return f"{source}/{file.removeprefix(last)}"


def _checked(path: Path, found: Imported) -> Imported:
    x_ND = np.asarray(found.x_ND, np.float32)
    if x_ND.ndim != 2 or not x_ND.size:
        raise UserError(f"{path}: has no embeddings")
    if len(found.index) != len(x_ND):
        raise UserError(
            f"{path}: {counted(len(x_ND), 'embedding')}, but names for {len(found.index)}"
        )
    bad_N = ~np.isfinite(x_ND).all(axis=1)
    if bad_N.any():
        at = int(bad_N.argmax())
        row, file = found.index.index[at], found.index["file"].iloc[at]
        raise UserError(
            f"{path}, row {row} ({file}): has NaN or infinity; {bad_N.sum()} rows in all; "
            "make them again or leave them out"
        )
    index = found.index.reset_index(drop=True)
    empty = index["file"].astype(str).str.strip() == ""
    if bool(empty.to_numpy().any()):
        row = found.index.index[int(empty.to_numpy().argmax())]
        raise UserError(f"{path}, row {row}: names no file")
    return Imported(x_ND, index, found.notes)


# --- tables -------------------------------------------------------------------------------------


def _text(path: Path) -> Imported:
    text = decode(path)
    head = next((line for line in text.splitlines() if line.strip()), "")
    if not head:
        raise UserError(f"{path}: is empty")
    first = SEPARATORS.split(head.strip())[0]
    if _number(first) is not None:
        return _birdnet_text(path, text)
    return _from_frame(path, *_frame(path))


def _frame(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """A table, all of whose cells are text: names, labels and dates stay what they are; and notes.

    Texts may repeat the row above by a ditto mark; numbers are as computers write them. The index
    are the rows as a spreadsheet counts.
    """
    cells = read_texts(path)
    texts = set(ours(cells.names, ("file", "label", "source", "date")).values())
    columns = {
        name: cells.repeated(name) if name in texts else cells.text(name) for name in cells.names
    }
    for problem in cells.problems:
        if problem.fatal:
            raise UserError(str(problem))
    notes = [str(problem) for problem in cells.problems]
    lists = {name for name in columns if name.casefold() in VECTOR_NAMES}
    odd = [name for name in columns if name not in texts | lists and not _plain(columns[name])]
    decimals = settled((cell for name in odd for cell in columns[name]), cells.separator)
    for name in odd:
        numbers = map(decimals.number, columns[name])
        pairs = zip(numbers, columns[name], strict=True)
        columns[name] = np.array([cell if x != x else repr(x) for x, cell in pairs], object)
    notes += [f"{path}: {decimals.note}"] if decimals.note else []
    return pd.DataFrame(columns, index=pd.Index(cells.rows), dtype="str"), notes


def _plain(cells: np.ndarray) -> bool:
    """Whether all are numbers as computers write them."""
    try:
        np.array(cells, np.float64)
    except ValueError:
        return False
    return True


def _birdnet_text(path: Path, text: str) -> Imported:
    """Start, end, values: one file per recording, whose name the table's begins with."""
    rows, times = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        values = [_number(cell) for cell in SEPARATORS.split(line.strip())]
        if None in values or len(values) < 3:
            raise UserError(f"{path}, row {number}: should be start, end and the values")
        times.append(values[:2])
        rows.append(values[2:])
        if len(rows[-1]) != len(rows[0]):
            raise UserError(
                f"{path}, row {number}: has {len(rows[-1])} values, where row 1 has {len(rows[0])}"
            )
    file = re.sub(r"\.birdnet|\.embeddings", "", path.stem)
    index = pd.DataFrame(np.array(times, np.float64), columns=["start_s", "end_s"])
    index.insert(0, "file", file)
    index.index = pd.RangeIndex(1, len(index) + 1)
    return Imported(np.array(rows, np.float32), index)


def _parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa

    try:
        frame = pd.read_parquet(path)
        return frame.set_index(pd.RangeIndex(1, len(frame) + 1))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as Parquet ({brief(error)})") from error


def _from_frame(path: Path, frame: pd.DataFrame, notes: Sequence[str] = ()) -> Imported:
    if not len(frame):
        raise UserError(f"{path}: has no rows")
    index = _index(path, frame)
    names = {str(name).casefold().strip(): name for name in frame.columns}
    whole = next((names[name] for name in VECTOR_NAMES if name in names), None)
    if whole is not None and not _is_numeric(frame[whole]):
        return Imported(_lists(path, frame[whole]), index, [*notes])
    columns = _numbered(frame)
    if not columns:
        raise UserError(
            f"{path}: no column holds the embedding: one of {', '.join(VECTOR_NAMES[:4])}, or "
            f"numbered ones like e0, e1, ... (it has {_some(frame.columns)})"
        )
    x_ND = np.stack([_floats(frame[name]) for name in columns], axis=1)
    return Imported(x_ND.astype(np.float32), index, [*notes])


def _floats(column: Any) -> np.ndarray:
    """A column as numbers, NaN where a cell holds none."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(np.float64, na_value=np.nan)
    cells = np.array([str(cell).strip() for cell in column], object)
    if _plain(cells):
        return cells.astype(np.float64)
    return np.array([as_float(cell) for cell in cells], np.float64)


def _is_numeric(column: Any) -> bool:
    """Whether a column holds numbers, or texts of them, and no missing cell but as nan."""
    if pd.api.types.is_numeric_dtype(column):
        return True
    if not pd.api.types.is_string_dtype(column):
        return False
    cells = column.astype(str).str.strip()
    known = np.isfinite(_floats(cells)) | cells.str.casefold().isin(["", "nan", "inf", "-inf"])
    return bool(known.all())


def _numbered(frame: pd.DataFrame) -> list[Any]:
    """The longest run of numeric columns that are numbered under one name, in that order."""
    runs: dict[str, list[tuple[int, Any]]] = {}
    for name in frame.columns:
        found = NUMBERED.match(str(name).strip())
        if found and _is_numeric(frame[name]):
            runs.setdefault(found["stem"].casefold(), []).append((int(found["number"]), name))
    best = max(runs.values(), key=len, default=[])
    return [name for _, name in sorted(best, key=lambda pair: pair[0])] if len(best) > 1 else []


def _lists(path: Path, cells: Any) -> np.ndarray:
    """A column of lists, or of texts of numbers, as rows of one width."""
    rows: list[np.ndarray] = []
    for number, cell in cells.items():
        try:
            row = _row(cell)
        except (ValueError, SyntaxError, TypeError) as error:
            raise UserError(f"{path}, row {number}: the embedding is no list of numbers") from error
        if rows and len(row) != len(rows[0]):
            raise UserError(
                f"{path}, row {number}: the embedding has {len(row)} dimensions, where row "
                f"{cells.index[0]} has {len(rows[0])}"
            )
        rows.append(row)
    return np.stack(rows)


def _row(cell: Any) -> np.ndarray:
    if isinstance(cell, str):
        text = cell.strip().strip("[]()")
        cell = [float(part) for part in SEPARATORS.split(text) if part]
    elif isinstance(cell, bytes):
        cell = np.frombuffer(cell, "<f4")
    row = np.asarray(cell, np.float32)
    if row.ndim != 1 or not row.size:
        raise ValueError("no list")
    return row


def _index(path: Path, frame: Any) -> pd.DataFrame:
    """Our columns of a table, by any of their names."""
    names = {str(name): name for name in frame}
    found = {name: names[theirs] for name, theirs in ours(names, INDEX_COLUMNS).items()}
    if "file" not in found:
        raise UserError(
            f"{path}: no column names the recording: one of {', '.join(COLUMNS['file'][:6])} "
            f"(it has {_some(names.values())})"
        )
    index = pd.DataFrame({ours: np.asarray(frame[name]) for ours, name in found.items()})
    rows = getattr(frame, "index", None)
    index.index = pd.RangeIndex(1, len(index) + 1) if rows is None else rows
    for name in ("start_s", "end_s"):
        if name in index:
            numbers = _floats(index[name])
            given = index[name].notna() & ~index[name].astype(str).str.strip().isin(["", "nan"])
            bad = np.isnan(numbers) & given.to_numpy()
            if bad.any():
                at = int(bad.argmax())
                raise UserError(
                    f"{path}, row {index.index[at]}: {found[name]} is "
                    f"{index[name].iloc[at]!r}, where a number of seconds should be"
                )
            index[name] = numbers
    for name in set(index) - {"start_s", "end_s"}:
        index[name] = index[name].fillna("").astype(str).str.strip()
    return pd.DataFrame({name: index[name] for name in INDEX_COLUMNS if name in index})


# --- arrays -------------------------------------------------------------------------------------


def _npy(path: Path, table: Path | None) -> Imported:
    x = _loaded(path)
    if table is None:
        options = [path.with_suffix(suffix) for suffix in (".csv", ".tsv", ".parquet")]
        table = next((option for option in options if option.exists()), None)
    if table is None:
        raise UserError(
            f"{path}: says nothing of the recordings; give --index TABLE, or put "
            f"{path.with_suffix('.csv').name} beside it, with a row for each vector"
        )
    frame, notes = (_parquet(table), []) if table.suffix == ".parquet" else _frame(table)
    return Imported(x, _index(table, frame), notes)


def _loaded(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except Exception as error:  # numpy raises many kinds for what is no array
        raise UserError(f"{path}: cannot be read as arrays ({brief(error)})") from error


def _npz(path: Path) -> Imported:
    arrays = _loaded(path)
    try:
        content = {name: arrays[name] for name in arrays.files}
    except Exception as error:
        raise UserError(f"{path}: cannot be read as arrays ({brief(error)})") from error
    by_name = {name.casefold(): array for name, array in content.items()}
    vectors = next((by_name[name] for name in VECTOR_NAMES if name in by_name), None)
    if vectors is not None and vectors.ndim == 3 and "inputs" in by_name:
        return _birdnet_npz(by_name, vectors)
    if vectors is None:
        options = [a for a in content.values() if a.ndim == 2 and a.dtype.kind == "f"]
        if len(options) != 1:
            raise UserError(
                f"{path}: no array is called {', '.join(VECTOR_NAMES[:4])} (it has "
                f"{_some(content)})"
            )
        vectors = options[0]
    rows = {
        name: array for name, array in content.items()
        if array.ndim == 1 and len(array) == len(vectors)
    }  # fmt: skip
    return Imported(vectors, _index(path, rows))


def _birdnet_npz(arrays: dict[str, Any], x_FSD: np.ndarray) -> Imported:
    """Padded segments of several files, as the birdnet package saves them."""
    length_s = float(np.ravel(arrays.get("segment_duration_s", [3.0]))[0])
    overlap_s = float(np.ravel(arrays.get("overlap_duration_s", [0.0]))[0])
    masked = arrays.get("embeddings_masked")
    absent_FS = ~np.isfinite(x_FSD).all(axis=2)
    if masked is not None:
        absent_FS = np.asarray(masked).reshape(*x_FSD.shape[:2], -1).all(axis=2)
    file_N, segment_N = np.nonzero(~absent_FS)
    start_N = segment_N * (length_s - overlap_s)
    index = pd.DataFrame(
        {
            "file": np.asarray(arrays["inputs"]).astype(str)[file_N],
            "start_s": start_N,
            "end_s": start_N + length_s,
        }
    )
    return Imported(x_FSD[file_N, segment_N], index)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _some(names: Any) -> str:
    listed = [str(name) for name in names]
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "") if listed else "nothing"
