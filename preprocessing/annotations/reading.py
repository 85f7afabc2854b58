"""Any annotation table into the events table: tells the formats apart by what is in the file."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from preprocessing import check
from preprocessing.annotations.audacity import is_audacity, read_audacity
from preprocessing.annotations.dcase import DCASE_COLUMNS, read_dcase_events
from preprocessing.annotations.plain import (
    BIRDNET_COLUMNS,
    plain_names,
    read_birdnet,
    read_parquet,
    read_plain,
)
from preprocessing.annotations.raven import RAVEN_COLUMNS, read_raven, recording_of
from preprocessing.annotations.table import (
    OPTIONAL_COLUMNS,
    OUR_COLUMNS,
    Rows,
    UnknownFormat,
    decode,
    first_line,
    header,
)
from preprocessing.events import EVENT_COLUMNS, Problem

# What calls are called where nothing in the table says.
CALL = "call"


def read_events(path: str | Path, *, boxes: bool = True) -> tuple[pd.DataFrame, list[Problem]]:
    """Read an annotation table of any format that `format_of` knows.

    Args:
        path: the table.
        boxes: put right and report what is no box in time: rows that end before or where they
            start are left out, a start before zero is cut, repeats count once, overlaps are
            noted. False: rows are taken as they stand, if they are numbers.

    Returns:
        The events, sorted by file and then start: `EVENT_COLUMNS`, those of `OPTIONAL_COLUMNS`
        that the file has (numbers NaN where empty), its other columns as text, and ``row``.
        ``file`` is as written, or the name without suffix of the recording that the table is
        named after. Where there are no labels they are "call"; of a ``Q`` column, or of none, of
        a DCASE table they are the recording's name.
        And what is wrong, row by row.

    Raises:
        UnknownFormat: the columns are those of no format.
        UserError: a folder, binary data, no such file, no table.
    """
    path = Path(path)
    rows, problems = _READERS[format_of(path)](path)
    events = _events(rows, path)
    if boxes:
        events, found = _boxes(events, path)
        problems = [*problems, *found]
    order = np.lexsort((events["row"], events["end_s"], events["start_s"], events["file"]))
    return events.iloc[order].reset_index(drop=True), problems


def format_of(path: str | Path) -> str:
    """The format of a table: "raven", "audacity", "birdnet", "dcase", "csv" or "parquet".

    Raises:
        UnknownFormat: none of them.
        UserError: a folder, binary data, no such file.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder, where a table of events should be")
    if path.suffix.lower() == ".parquet":
        return "parquet"
    head = first_line(decode(path))
    if not head and path.suffix.lower() == ".txt":
        return "audacity"  # a label track without labels
    if not head:
        raise UnknownFormat(f"{path}: is empty; a table has a first row with its columns")
    if is_audacity(head):
        return "audacity"
    for name, fits in _HEADERS.items():
        if any(fits(header(head, separator)) for separator in "\t,;"):
            return name
    raise UnknownFormat(
        f"{path}: its first row is {head[:120]!r}; that is no Raven table (Begin Time (s), End "
        "Time (s)), DCASE CSV (Audiofilename, Starttime, Endtime), BirdNET CSV (Start (s), End "
        "(s), Confidence), plain CSV (file, start_s, end_s, label) or Audacity label track"
    )


def _all_of(*wanted: str) -> Callable[[list[str]], bool]:
    need = {name.casefold() for name in wanted}
    return lambda columns: need <= {name.casefold() for name in columns}


_HEADERS: dict[str, Callable[[list[str]], bool]] = {
    "raven": _all_of(*RAVEN_COLUMNS),
    "dcase": _all_of(*DCASE_COLUMNS),
    "birdnet": _all_of(*BIRDNET_COLUMNS),
    "csv": lambda columns: {"start_s", "end_s"} <= set(plain_names(columns)),
}
_READERS: dict[str, Callable[[Path], tuple[Rows, list[Problem]]]] = {
    "raven": lambda path: read_raven(path, label_column="auto", default_label=CALL),
    "audacity": read_audacity,
    "birdnet": read_birdnet,
    "dcase": read_dcase_events,
    "csv": read_plain,
    "parquet": read_parquet,
}


def _events(rows: Rows, path: Path) -> pd.DataFrame:
    """The columns in order, with a file and a label in every row."""
    named = {**rows, "file": np.where(rows["audio"] == "", recording_of(path), rows["audio"])}
    named["label"] = np.where(rows["label"] == "", CALL, rows["label"])
    ours = [*EVENT_COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in rows)]
    extras = [name for name in rows if name not in OUR_COLUMNS]
    columns = {name: named[name] for name in (*ours, *extras, "row")}
    return pd.DataFrame({name: _typed(column) for name, column in columns.items()})


def _typed(column: np.ndarray) -> pd.Series:
    return pd.Series(column, dtype="str" if column.dtype == object else column.dtype)


def _boxes(events: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[Problem]]:
    columns = list(events.columns)
    rows = events.assign(table=str(path), split="")
    problems = []
    for step in (lambda rows: check.inside(rows, _endless()), check.without_duplicates):
        rows, found = step(rows)
        problems += found
    problems += check.overlaps(rows)
    return rows.loc[:, columns], problems


def _endless() -> defaultdict[str, float]:
    """Durations of recordings that nobody has opened yet."""
    return defaultdict(lambda: float("inf"))
