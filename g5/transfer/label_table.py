"""Tables of labels as they are written: which file, when, what."""

import io
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.words import counted, on_one_line
from g5.config.schema import Task
from preprocessing.annotations import (
    Table,
    format_of,
    ours,
    plain,
    read_events,
    read_texts,
)
from preprocessing.annotations.columns import ASIDE, COLUMN_NAMES
from preprocessing.annotations.dialects import ABSENT, PRESENT
from preprocessing.annotations.meanings import understood
from preprocessing.annotations.numbers import as_float
from preprocessing.annotations.spelling import NO_CALL, folded
from preprocessing.events import STATUSES, Problem, at_rows

# What is read from a table, by what for: the first of these columns that it has.
Purpose = Task | Literal["individual", "anything"]
COLUMNS: dict[Purpose, tuple[str, ...]] = {
    "single": ("label",),
    "multi": ("label",),
    "rating": ("rating", "label"),
    "individual": ("individual", "label"),
    "anything": ("label", "rating"),
}
ROW = "row of the table"
# Of a column's name, what makes it one of times, in whatever unit.
TIMES = {
    "start", "begin", "onset", "end", "stop", "offset", "from", "to", "t0", "t1", "timestamp",
    "seconds", "second", "secs", "sec",
}  # fmt: skip


def read_labels(
    path: str | os.PathLike[str],
    purpose: Purpose = "anything",
    columns: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """A table of labels: ``file``, ``label`` and perhaps ``start_s``, ``end_s``, ``source``.

    Args:
        path: a CSV, or any other table of one separator; or the calls of an annotation table of
            Raven, Audacity, BirdNET or DCASE, or a Parquet one.
        purpose: a task, for which ratings are taken from ``rating``, or from ``label`` where there
            is none, and classes from ``label`` alone; ``individual``: that column, or ``label``;
            ``anything``: what there is.
        columns: what the table calls our columns, ``{ours: theirs}``.

    Returns:
        The table, whatever the column was called that became ``label``; its index is the rows as a
        spreadsheet counts them. ``kind`` is the ``label`` of an ``individual``, else "".

    Raises:
        UserError: unreadable, without the columns or with several of one name, or a row that is
            none, with its number.
    """
    path = Path(path)
    table = _read_table(path, purpose, columns)
    label = _label_column(path, table, purpose)
    out = pd.DataFrame({"file": table["file"], "label": table[label]})
    out["start_s"], out["end_s"] = _times(path, table)
    out["source"] = table.get("source", "")
    own = label == "individual" and "label" in table
    out["kind"] = table["label"] if own else ""
    out.index = pd.Index(table[ROW].to_numpy(np.int64))  # as a spreadsheet counts
    out = _joined(path, out) if purpose == "multi" else out
    if not len(out):
        raise UserError(f"{path}: has no rows")
    return out


def _joined(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """One row a clip, with all labels that the rows of this clip say."""
    clips = ["file", "start_s", "end_s"]
    double: Any = table.duplicated(clips, keep="first")
    if not double.any():
        return table
    labels: Any = table.groupby(clips, dropna=False, sort=False)["label"]
    said = labels.transform(lambda cells: ";".join(dict.fromkeys(filter(None, cells))))
    count = counted(double.sum(), "row")
    message = f"{count} of a clip that has a row before; it has the labels of all"
    print(f"note: {path}: {message}", file=sys.stderr)
    return table.assign(label=said).loc[~double]


def _one_hot(cells: Table, unknown: Sequence[str]) -> list[str]:
    """Labels like ``owl;wren`` of columns that are 0 or 1 for a class each; none of others."""
    texts = {name: cells.text(name, str.casefold) for name in unknown}
    said = {cell for column in texts.values() for cell in column}
    if not said & set(PRESENT) or not said <= {*PRESENT, *ABSENT}:
        return []
    rows = zip(*texts.values(), strict=True)
    return [
        ";".join(name for name, cell in zip(texts, row, strict=True) if cell in PRESENT)
        for row in rows
    ]


def check_labels(
    path: Path, purpose: Purpose = "anything", columns: Mapping[str, str] | None = None
) -> None:
    """Raise what `read_labels` would, and leave it to that to tell what is odd."""
    with redirect_stderr(io.StringIO()):
        read_labels(path, purpose, columns)


def _read_table(path: Path, purpose: Purpose, columns: Mapping[str, str] | None) -> pd.DataFrame:
    """The cells of a table as text, under our names, and all others in lower case; times as
    numbers. What was repaired is told."""
    if columns is None and _is_annotation(path):
        return _calls(path)
    if not path.exists():
        raise UserError(f"{path}: cannot be read as a table of labels (there is no such file)")
    cells = read_texts(path, short=True)
    cells = understood(cells.renamed(columns) if columns else cells)
    # A table's own `label` and `rating` are what they say, whatever else it has.
    found = ours(cells.names, ("file", "start_s", "end_s", "duration_s", "label", "source"))
    unknown = [name for name in cells.names if plain(name) not in COLUMN_NAMES | ASIDE]
    joined = [] if purpose != "multi" or "label" in found else _one_hot(cells, unknown)
    if (
        unknown
        and not joined
        and "start_s" in found
        and not {"label", "rating", "individual"}
        & (set(found) | {name.lower() for name in cells.names})
    ):
        return _calls(path)  # a column for each class
    names = {theirs: name for name, theirs in found.items()}
    texts = {names.get(name, name.lower()): cells.repeated(name) for name in cells.names}
    table = pd.DataFrame({**texts, ROW: cells.rows}).astype(dict.fromkeys(texts, "str"))
    if joined:
        table = table.assign(label=joined)
        unknown = []
    for name in {"start_s", "end_s", "duration_s"} & set(found):
        table[name] = cells.seconds(found[name], empty=True)
    _tell(cells.problems)
    table = _called(path, table.loc[cells.good])
    if "start_s" not in table:
        _tell_unread(path, cells, unknown)
        return table
    if "end_s" not in table and "duration_s" in table:
        table["end_s"] = table["start_s"] + table["duration_s"]
    labels: Any = table.get("label", [])
    silent = np.array([folded(text) in NO_CALL for text in labels], dtype=bool)
    if silent.any() and purpose == "multi":
        table["label"] = np.where(silent, "", labels)  # a clip without any label
    elif silent.any():
        where = at_rows(str(path), table[ROW][silent])
        print(f"note: {where}: 'nocall' says that nothing called; left out", file=sys.stderr)
        table = table.loc[~silent].reset_index(drop=True)
    return table


def _called(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The calls of a table whose status says that others are none."""
    told: Any = table.get("status", [])
    status = np.array([text.upper() for text in told], object)
    if not len(status) or not set(status) <= set(STATUSES):
        return table
    none = status != "POS"
    if none.any():
        where = at_rows(str(path), table[ROW][none])
        print(f"note: {where}: status is {status[none][0]}, no call; left out", file=sys.stderr)
    return table.loc[~none].reset_index(drop=True)


def _tell_unread(path: Path, cells: Table, unknown: Sequence[str]) -> None:
    """Columns of numbers, where none is known for a time; refuse what is called one."""
    unread = [
        name for name in unknown
        if np.isfinite([as_float(cell) for cell in cells.text(name) if cell] or np.nan).all()
    ]  # fmt: skip
    times = [name for name in unread if set(plain(name).split("_")) & TIMES]
    if times:
        raise UserError(
            f"{path}: has times in {', '.join(times)}, which are none of the known columns; write "
            "them in seconds as start_s and end_s, or remove them"
        )
    if unread:
        message = "has no columns start_s and end_s, so a label is of its whole recording"
        line = f"note: {path}: {message}; not read: {', '.join(unread)}"
        print(on_one_line(line), file=sys.stderr)


def _tell(problems: Sequence[Problem]) -> None:
    """Refuse a table with a bad row; say what else is odd, but of labels, which `_odd` tells."""
    for problem in problems:
        if problem.fatal:
            raise UserError(str(problem))
        if problem.kind != "label":
            print(f"note: {problem}", file=sys.stderr)


def _is_annotation(path: Path) -> bool:
    """Whether a table is of a program that marks calls, and not just ``file,label,...``."""
    try:
        return format_of(path) != "csv"
    except UserError:
        return False


def _calls(path: Path) -> pd.DataFrame:
    """The calls of an annotation table, as the cells of a table of labels."""
    events, problems = read_events(path)
    _tell(problems)
    calls = events.loc[events["status"] == "POS"].reset_index(drop=True)
    # A row with several classes is several labels, which cannot share a number.
    numbers = calls["row"].to_numpy() if calls["row"].is_unique else np.arange(2, len(calls) + 2)
    texts = calls.astype(str)
    texts.columns = pd.Index([str(name).lower() for name in calls.columns])
    texts = texts.loc[:, ~texts.columns.duplicated()].assign(**{ROW: numbers})
    return texts.assign(start_s=calls["start_s"], end_s=calls["end_s"])


def _times(path: Path, table: pd.DataFrame) -> tuple[Any, Any]:
    """Starts and ends, s; NaN where there are none."""
    none: Any = pd.Series(np.nan, index=table.index)
    starts: Any
    ends: Any
    starts, ends = (table.get(name, none) for name in ("start_s", "end_s"))
    backwards = (ends < starts).to_numpy()
    if backwards.any():
        at = int(backwards.argmax())
        raise UserError(
            f"{path}, row {table[ROW].iloc[at]}: ends at {ends.iloc[at]:g} s, before it starts at "
            f"{starts.iloc[at]:g} s"
        )
    return starts, ends


def _label_column(path: Path, table: pd.DataFrame, purpose: Purpose) -> str:
    has = f"{path}: has the columns {', '.join(name for name in table.columns if name != ROW)}"
    wanted = COLUMNS[purpose]
    label = next((name for name in wanted if name in table), None)
    if "file" not in table or label is None:
        if "file" in table and "rating" in table and purpose in ("single", "multi"):
            raise UserError(
                f"{has}; classes are read from `label`, which is not among them; `rating` is for "
                "task=rating"
            )
        raise UserError(f"{has}; it needs `file` and {' or '.join(f'`{n}`' for n in wanted)}")
    if purpose == "rating" and label != "rating":
        numbers: Any = pd.to_numeric(table[label], errors="coerce")
        if len(table) and numbers.isna().all():
            raise UserError(
                f"{has}; task=rating reads `rating`, which is not among them, and `{label}` holds "
                f"no numbers (row 2: {table[label].iloc[0]!r})"
            )
    return label
