"""The events table into any annotation format, such that its reader gives the table back."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from g5.common.atomic import atomic_path
from g5.common.errors import UserError
from g5.common.files import base_name
from g5.common.spreadsheet import guarded
from preprocessing.annotations.dcase import DCASE_COLUMNS
from preprocessing.annotations.raven import RAVEN_COLUMNS
from preprocessing.annotations.table import unwrapped
from preprocessing.events import EVENT_COLUMNS

SUFFIXES = {
    "raven": ".selections.txt", "audacity": ".txt", "csv": ".csv", "dcase": ".csv",
    "parquet": ".parquet",
}  # fmt: skip
_RAVEN_NAMES = {
    "low_hz": "Low Freq (Hz)", "high_hz": "High Freq (Hz)", "label": "Annotation",
    "score": "Score", "distance": "Distance", "nearest": "Nearest",
}  # fmt: skip


def write_events(events: pd.DataFrame, path: str | Path, format: str) -> Path:
    """Write events in one of the formats of `SUFFIXES`; the file appears whole or not at all.

    Times, bands, scores and distances keep every bit. What a format has no place for is left out:

    * ``raven``: everything is kept; ``status`` only where some event is no POS.
    * ``audacity``: of one recording, whose name the file should have; times, label and band.
    * ``csv``, ``parquet``: everything is kept.
    * ``dcase``: the name of the recording and times, as the challenge wants predictions; where
      some event is no POS, a ``Q`` column with the status.

    Args:
        events: `EVENT_COLUMNS`, and whatever else it has; ``row`` is not written.
        path: the file.
        format: a key of `SUFFIXES`.

    Raises:
        UserError: no such format, several recordings in an Audacity track, or nowhere to write.
    """
    path = Path(path)
    if format not in _WRITERS:
        raise UserError(f"{format!r} is no format of events; choose from {', '.join(_WRITERS)}")
    with atomic_path(path) as temporary:
        _WRITERS[format](events.drop(columns="row", errors="ignore"), temporary)
    return path


def _write_raven(events: pd.DataFrame, path: Path) -> None:
    size = len(events)
    own = {name: events[name] for name in ("Selection", "View", "Channel") if name in events}
    columns: dict[str, Any] = {
        "Selection": range(1, size + 1), "View": ["Spectrogram 1"] * size, "Channel": [1] * size,
        **own,
        RAVEN_COLUMNS[0]: events["start_s"], RAVEN_COLUMNS[1]: events["end_s"],
        "Begin File": [base_name(str(file)) for file in events["file"]],
        "Begin Path": events["file"],
        # From the head of the recording, as all our times are.
        "File Offset (s)": events["start_s"],
    }  # fmt: skip
    columns |= {theirs: events[ours] for ours, theirs in _RAVEN_NAMES.items() if ours in events}
    if set(events["status"]) - {"POS"}:
        columns["Status"] = events["status"]
    used = {*EVENT_COLUMNS, *_RAVEN_NAMES, *own}
    _write_table(path, _with_extras(columns, events, used), "\t", quoted=False)


def _write_csv(events: pd.DataFrame, path: Path) -> None:
    columns: dict[str, Any] = {name: events[name] for name in EVENT_COLUMNS}
    _write_table(path, _with_extras(columns, events, set(EVENT_COLUMNS)), ",")


def _write_dcase(events: pd.DataFrame, path: Path) -> None:
    names = [base_name(str(file)) for file in events["file"]]
    columns: dict[str, Any] = dict(
        zip(DCASE_COLUMNS, (names, events["start_s"], events["end_s"]), strict=True)
    )
    if set(events["status"]) - {"POS"}:
        columns["Q"] = events["status"]
    _write_table(path, columns, ",")


def _write_audacity(events: pd.DataFrame, path: Path) -> None:
    files = list(events["file"].unique())
    if len(files) > 1:
        raise UserError(
            f"an Audacity label track holds one recording, not {len(files)} ({files[0]}, "
            f"{files[1]}, ...); write one file for each"
        )
    banded = {"low_hz", "high_hz"} <= set(events.columns)
    with _open(path) as out:
        for event in events.to_dict("records"):
            times = (event["start_s"], event["end_s"])
            out.write("\t".join((*map(_cell, times), _cell(event["label"]))) + "\n")
            limits = (event["low_hz"], event["high_hz"]) if banded else (np.nan, np.nan)
            if not np.isnan(limits).any():
                out.write("\t".join(("\\", *map(_cell, limits))) + "\n")


def _write_parquet(events: pd.DataFrame, path: Path) -> None:
    events.to_parquet(path, index=False)


_WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "raven": _write_raven,
    "audacity": _write_audacity,
    "csv": _write_csv,
    "dcase": _write_dcase,
    "parquet": _write_parquet,
}


def _with_extras(columns: dict[str, Any], events: pd.DataFrame, used: set[str]) -> dict[str, Any]:
    """``columns``, and those of the events that are not ``used``, under names that differ."""
    columns = dict(columns)
    taken = {name.casefold() for name in columns}
    for name in events.columns:
        if name in used:
            continue
        new = _text(str(name))
        while new.casefold() in taken:
            new = f"{new} (2)"
        taken.add(new.casefold())
        columns[new] = events[name]
    return columns


def _write_table(
    path: Path, columns: dict[str, Any], separator: str, *, quoted: bool = True
) -> None:
    with _open(path) as out:
        how = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE  # cells hold no separator then
        mark = '"' if quoted else None
        writer = csv.writer(
            out, delimiter=separator, lineterminator="\n", quoting=how, quotechar=mark
        )
        cells = [[_cell(value) for value in column] for column in columns.values()]
        if quoted:  # a CSV, which spreadsheets open
            columns = {guarded(name): column for name, column in columns.items()}
            cells = [
                [guarded(cell) if isinstance(value, str) else cell for value, cell in pairs]
                for pairs in map(zip, columns.values(), cells)
            ]
        writer.writerow(columns)
        if not quoted:
            cells = [[_wrapped(cell) for cell in column] for column in cells]
        writer.writerows(zip(*cells, strict=True))


def _open(path: Path) -> TextIO:
    return open(path, "w", encoding="utf-8", newline="")


def _cell(value: object) -> str:
    """Numbers to their last bit without an exponent, which not every program reads; else text."""
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else np.format_float_positional(value, trim="-")
    return "" if value is None or value is pd.NA else _text(str(value))


def _wrapped(cell: str) -> str:
    """A cell that a reader would unwrap, such that it gets it back."""
    return cell if unwrapped(cell) == cell else '"' + cell.replace('"', '""') + '"'


def _text(text: str) -> str:
    """On one line and in one cell: tabs and ends of lines become blanks."""
    return re.sub(r"[^\S ]|\0", " ", text).strip()
