"""Labels of a table against the rows of a store: which embeddings are examples of what.

Shapes: N examples, D embedding width.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.words import counted
from g5.config.schema import Task
from g5.embeddings.vectors import VectorStore
from preprocessing.annotations import odd_labels
from preprocessing.naming import Listing

SEPARATOR = ";"
NAMED = 3


@dataclass(frozen=True)
class Examples:
    """Labelled embeddings.

    Attributes:
        x_ND: one vector per label: the mean of the embeddings under it.
        y: labels (N,), a 0/1 matrix, or ratings (N,).
        classes: names of the labels; empty for ratings.
        groups: the source of each, which cross-validation keeps together.
        files: the recording of each, as the store calls it.
        rows: numbers of the labels in their table.
        notes: what was left out, a line each.
    """

    x_ND: np.ndarray
    y: np.ndarray
    classes: list[str]
    groups: np.ndarray
    files: np.ndarray
    rows: np.ndarray
    notes: list[str]


def examples(
    store: VectorStore, table: pd.DataFrame, task: Task, *, where: str = "labels"
) -> Examples:
    """Match labels with embeddings.

    A label with times is the mean of the embeddings that overlap it by at least half a window or
    half the label; where none does, the one that overlaps most. A label without times is the
    mean over its whole recording. Names match as they are, by their path below the audio root,
    or, where that is unambiguous, by their last part.

    Args:
        store: embeddings.
        table: from `read_labels`.
        task: what the labels are.
        where: the table's name, for messages.

    Raises:
        UserError: no label has an embedding, a rating is none, or there is one class.
    """
    index = store.index
    source_of = dict(zip(index["file"].astype(str), index["source"].astype(str), strict=True))
    matches, notes = _matched(store, table, where)
    kept = [match.number for match in matches]
    files = [match.file for match in matches]
    groups = [
        table.at[at, "source"] or source_of[name] or name
        for at, name in zip(kept, files, strict=True)
    ]
    if not matches:
        raise UserError(f"{where}: no label has an embedding in {store.path}; {'; '.join(notes)}")
    x_ND = _means(store, [match.rows for match in matches])
    labels = table.loc[kept, "label"].tolist()
    if task != "rating":
        notes += odd(where, table.loc[kept], _contents(store, files), several=task == "multi")
    y, classes = label_targets(labels, kept, task, where)
    if task == "single" and not any(table["source"]) and named_by_class(groups, labels):
        # Folders named by class say nothing of where a sound comes from.
        groups = files
    return Examples(x_ND, y, classes, np.array(groups), np.array(files), np.array(kept), notes)


def _contents(store: VectorStore, files: Sequence[str]) -> list[str]:
    """What tells the sound of files apart: its hash, or the name where the store has none."""
    hashes = {name: digest for digest, _, name in (key.partition(":") for key in store.keys)}
    return [hashes.get(file, file) for file in files]


def odd(where: str, table: pd.DataFrame, contents: Sequence[str], *, several: bool) -> list[str]:
    """What is odd about labels that are used, a line each.

    Args:
        where: the table's name, for messages.
        table: rows of `read_labels`.
        contents: of each row, what tells its recording from others, whatever both are called.
        several: a clip may have several labels.
    """
    parts = [part.strip() for text in table["label"] for part in text.split(SEPARATOR)]
    notes = [f"{where}: {line}" for line in odd_labels(parts if several else table["label"])]
    clips: Any = table.assign(sound=contents).groupby(["sound", "start_s", "end_s"], dropna=False)
    both = [] if several else [rows for _, rows in clips if rows["label"].nunique() > 1]
    if both:
        first = both[0].drop_duplicates("label")
        name, *others = first["file"].unique()
        at = " and ".join(f"{label!r} (row {row})" for row, label in first["label"].items())
        same = f", the same sound as {others[0]}," if others else ""
        more = f"; so are {len(both) - 1} more" if len(both) > 1 else ""
        notes.append(
            f"{where}: {name}{same} has several labels that contradict each other, "
            f"{at}; all are used{more}"
        )
    return notes


def named_by_class(groups: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether each class is one group and each group one class."""
    pairs = set(zip(groups, labels, strict=True))
    return len(pairs) == len(set(groups)) == len(set(labels))


def label_targets(
    labels: list[str], rows: Sequence[int], task: Task, where: str
) -> tuple[np.ndarray, list[str]]:
    """What a head learns from labels as they are written, and the names of the classes.

    Raises:
        UserError: a label that is none of this task, naming its row; a single class.
    """
    if task == "rating":
        numbers: Any = pd.to_numeric(pd.Series(labels), errors="coerce")
        values = np.asarray(numbers, dtype=np.float64)
        bad = ~((values >= 0) & (values <= 1))
        if bad.any():
            at = int(bad.argmax())
            raise UserError(
                f"{where}, row {rows[at]}: the rating is {labels[at]!r}; it must be a number "
                "from 0 to 1"
            )
        return values, []
    if task == "multi":
        classes = sorted({part.strip() for text in labels for part in text.split(SEPARATOR)} - {""})
        if not classes:
            raise UserError(f"{where}: every label is empty")
        return _multi_hot(labels, classes), classes
    if "" in labels:
        raise UserError(f"{where}, row {rows[labels.index('')]}: the label is empty")
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise UserError(
            f"{where}: every label is {classes[0]!r}, where two different ones are needed"
        )
    return np.array(labels, dtype=object).astype(str), classes


def _overlapping(
    rows: np.ndarray, start_N: np.ndarray, end_N: np.ndarray, start_s: float, end_s: float
) -> np.ndarray:
    if not np.isfinite(end_s):
        end_s = start_s
    first, last = start_N[rows], end_N[rows]
    overlap = np.minimum(last, end_s) - np.maximum(first, start_s)
    if not len(overlap) or overlap.max() < 0:
        return rows[:0]
    enough = overlap >= 0.5 * np.minimum(last - first, max(end_s - start_s, 1e-9))
    return rows[enough] if enough.any() else rows[[int(overlap.argmax())]]


def _means(store: VectorStore, chosen: Sequence[np.ndarray]) -> np.ndarray:
    flat = np.concatenate(chosen)
    vectors = store.vectors[flat].astype(np.float32)
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in chosen])[:-1]])
    counts = np.array([len(rows) for rows in chosen], dtype=np.float32)
    return np.add.reduceat(vectors, starts, axis=0) / counts[:, None]


class _Names:
    """Finds the store's name of a file that somebody wrote down otherwise."""

    def __init__(self, names: Sequence[str], root: Path | None) -> None:
        self._names = set(names)
        self._root = root
        self._listing = Listing(names)

    def __call__(self, written: str) -> list[str]:
        """The name, all that it may be, or none."""
        written = written.replace("\\", "/")
        if written in self._names:
            return [written]
        if self._root is not None:
            relative = os.path.relpath(os.path.abspath(written), self._root)
            if relative in self._names:
                return [relative]
        return self._listing.find(written)


def _told(where: str, what: str, rows: Sequence[tuple[int, str]]) -> list[str]:
    if not rows:
        return []
    named = ", ".join(f"row {row} ({file})" for row, file in rows[:NAMED])
    more = f", and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    are = "is" if len(rows) == 1 else "are"
    return [f"{where}: {counted(len(rows), 'label')} {what}, and {are} left out: {named}{more}"]


def rows_of_labels(
    store: VectorStore, table: pd.DataFrame, *, where: str = "labels"
) -> tuple[dict[int, str], list[str]]:
    """Label by row of the store, for what is under the labels of a table from `read_labels`, and
    what was left out, a line each. Empty labels are none.

    Raises:
        UserError: no label falls on a clip of the store.
    """
    found: dict[int, str] = {}
    labels: Any = table[table["label"] != ""]
    matches, notes = _matched(store, labels, where)
    kept = [match.number for match in matches]
    contents = _contents(store, [match.file for match in matches])
    notes += odd(where, labels.loc[kept], contents, several=False)
    for match in matches:
        found.update(dict.fromkeys(match.rows.tolist(), str(table.at[match.number, "label"])))
    if not found:
        raise UserError("; ".join([f"{where}: no label falls on a clip of {store.path}", *notes]))
    return found, notes


@dataclass(frozen=True)
class _Match:
    """A label that has embeddings: its row in the table, its file, its rows in the store."""

    number: int
    file: str
    rows: np.ndarray


def _matched(store: VectorStore, table: pd.DataFrame, where: str) -> tuple[list[_Match], list[str]]:
    """The labels that have embeddings, and what was left out, a line each."""
    index = store.index
    names = index["file"].astype(str)
    grouped: Any = names.groupby(names).groups
    rows_of_file: dict[str, np.ndarray] = {str(k): np.asarray(v) for k, v in grouped.items()}
    resolve = _Names(list(rows_of_file), store.audio_root)
    start_N, end_N = index["start_s"].to_numpy(), index["end_s"].to_numpy()
    matches: list[_Match] = []
    absent: list[tuple[int, str]] = []
    ambiguous: list[tuple[int, str]] = []
    silent: list[tuple[int, str]] = []
    for number, file, _, start_s, end_s, _, _ in table.itertuples(name=None):
        found = resolve(file)
        if len(found) != 1:
            (ambiguous if found else absent).append((number, file))
            continue
        rows = rows_of_file[found[0]]
        if np.isfinite(start_s):
            rows = _overlapping(rows, start_N, end_N, start_s, end_s)
        if not len(rows):
            silent.append((number, file))
            continue
        matches.append(_Match(number, found[0], rows))
    notes = [
        *_told(where, "of no file in the store", absent),
        *_told(where, "of a name that several files have", ambiguous),
        *_told(where, "beyond the end of the recording", silent),
    ]
    return matches, notes


def _multi_hot(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Labels like ``"owl;wren"`` as a 0/1 matrix (N, C)."""
    number = {name: column for column, name in enumerate(classes)}
    out = np.zeros((len(labels), len(classes)), np.int64)
    for row, text in enumerate(labels):
        for name in filter(None, (part.strip() for part in text.split(SEPARATOR))):
            out[row, number[name]] = 1
    return out
