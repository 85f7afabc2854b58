"""Readers of plain CSVs, ours and those of BirdNET, and of Parquet tables, by their columns."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from preprocessing.annotations.table import (
    Rows,
    Table,
    UnknownFormat,
    among,
    band,
    chosen,
    decode,
    first_line,
    header,
)
from preprocessing.events import STATUSES, Problem

BIRDNET_COLUMNS = ("Start (s)", "End (s)", "Confidence")
# Our names, and others that are understood; the first that a table has is taken.
NAMES = {
    "file": ("file", "filename", "recording", "audio", "path"),
    "start_s": ("start_s", "start", "onset_s", "onset", "begin", "start_time"),
    "end_s": ("end_s", "end", "offset_s", "offset", "end_time"),
    "label": ("label", "species", "class", "annotation"),
    "status": ("status",),
    "low_hz": ("low_hz", "low_freq", "freq_low"),
    "high_hz": ("high_hz", "high_freq", "freq_high"),
    "score": ("score", "confidence"),
    "distance": ("distance",),
    "nearest": ("nearest",),
}
_BIRDNET = {
    "file": ("File",),
    "start_s": ("Start (s)",),
    "end_s": ("End (s)",),
    "label": ("Common name", "Scientific name"),
    "score": ("Confidence",),
}


def plain_names(columns: Sequence[str]) -> dict[str, str]:
    """Which of a table's columns is which of ours: ``{"start_s": "Onset", ...}``."""
    return _found(columns, NAMES)


def read_plain(path: Path) -> tuple[Rows, list[Problem]]:
    """Read a CSV with columns for start and end, as `NAMES` has them in any case."""
    head = first_line(decode(path))
    for separator in ",;\t":
        found = plain_names(header(head, separator))
        if {"start_s", "end_s"} <= set(found):
            return _rows(Table.read(path, (found["start_s"], found["end_s"]), separator), found)
    raise UnknownFormat(f"{path}: has no columns start_s and end_s")


def read_birdnet(path: Path) -> tuple[Rows, list[Problem]]:
    """Read BirdNET's CSV; the label is the common name, the confidence a score."""
    table = Table.read(path, BIRDNET_COLUMNS, ",;\t")
    return _rows(table, _found(table.names, _BIRDNET))


def read_parquet(path: Path) -> tuple[Rows, list[Problem]]:
    """Read a Parquet table with the columns of the events table; others are kept as they are.

    Raises:
        UserError: damaged, or without a column of times.
    """
    try:
        data = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is no readable Parquet table ({error})".split("\n")[0]) from error
    found = plain_names([str(name) for name in data.columns])
    if not {"start_s", "end_s"} <= set(found):
        raise UnknownFormat(
            f"{path}: has no columns start_s and end_s (it has {', '.join(map(str, data.columns))})"
        )
    # As text and back, floats keep every bit: a Parquet table is checked as all others are.
    cells = {name.casefold(): _texts(pd.Series(data[name])) for name in data.columns}
    size = len(data)
    names = [str(name) for name in data.columns]
    table = Table(path, names, ".", cells, np.arange(1, size + 1), np.ones(size, dtype=bool))
    return _rows(table, found)


def _texts(column: pd.Series) -> list[str]:
    return [
        "" if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)
    ]


def _found(columns: Sequence[str], names: dict[str, tuple[str, ...]]) -> dict[str, str]:
    folded = {name.casefold(): name for name in reversed(columns)}
    return {
        ours: next(folded[name.casefold()] for name in theirs if name.casefold() in folded)
        for ours, theirs in names.items()
        if any(name.casefold() in folded for name in theirs)
    }


def _rows(table: Table, found: dict[str, str]) -> tuple[Rows, list[Problem]]:
    size = len(table.rows)
    rows: Rows = {
        "audio": table.text(found.get("file", "")),
        "start_s": table.seconds(found["start_s"]),
        "end_s": table.seconds(found["end_s"]),
        "label": table.text(found.get("label", "")),
        "status": np.full(size, "POS", dtype=object),
        "row": table.rows,
    }
    if "status" in found:
        rows["status"] = table.text(found["status"], str.upper)
        table.refuse(~among(rows["status"], STATUSES), found["status"], rows["status"],
                     "POS, NEG or UNK")  # fmt: skip
    if {"low_hz", "high_hz"} <= set(found):
        rows |= band(table, found["low_hz"], found["high_hz"])
    for name in ("score", "distance"):
        if name in found:
            rows[name] = table.numbers(found[name])
    if "nearest" in found:
        rows["nearest"] = table.text(found["nearest"])
    rows |= table.extras(found.values())
    return chosen(rows, table.good), table.problems
