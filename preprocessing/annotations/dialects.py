"""The dialects of annotation tables: how each is recognised, and what its columns mean.

A new dialect with a header is one entry of `DIALECTS`: a name, an example, whether a header is
its own, and a function from a `Table` to `Rows` (`mapped` where columns need only new names).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from preprocessing.annotations.audacity import audacity_rows
from preprocessing.annotations.clips import CLIPS_COLUMNS, clips_rows
from preprocessing.annotations.dcase import DCASE_COLUMNS, dcase_rows
from preprocessing.annotations.raven import RAVEN_COLUMNS, raven_rows
from preprocessing.annotations.table import (
    Reading,
    Rows,
    Table,
    UnknownFormat,
    among,
    band,
    chosen,
    label_column,
)
from preprocessing.events import STATUSES

# Our names, and others that are understood; the first that a table has is taken.
PLAIN = {
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
BIRDNET = {
    "file": ("File",),
    "start_s": ("Start (s)",),
    "end_s": ("End (s)",),
    "label": ("Common name", "Scientific name"),
    "score": ("Confidence",),
}


@dataclass(frozen=True)
class Dialect:
    """One way to write events down.

    Attributes:
        name: what `format_of` calls it.
        example: for messages, with the columns that it needs.
        fits: whether the columns of a header are its own.
        rows: the events of a table, without its bad rows.
    """

    name: str
    example: str
    fits: Callable[[Sequence[str]], bool]
    rows: Callable[[Table, Reading], Rows]


def _all_of(*wanted: str) -> Callable[[Sequence[str]], bool]:
    need = {name.casefold() for name in wanted}
    return lambda columns: need <= {name.casefold() for name in columns}


def mapped(names: Mapping[str, Sequence[str]]) -> Callable[[Table, Reading], Rows]:
    """A reader of tables whose columns are ours under other names."""
    return lambda table, how: _mapped_rows(table, how, _found(table.names, names))


def _found(columns: Sequence[str], names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Which of a table's columns is which of ours: ``{"start_s": "Onset", ...}``."""
    folded = {name.casefold(): name for name in reversed(columns)}
    return {
        ours: next(folded[name.casefold()] for name in theirs if name.casefold() in folded)
        for ours, theirs in names.items()
        if any(name.casefold() in folded for name in theirs)
    }


def _is_plain(columns: Sequence[str]) -> bool:
    return {"start_s", "end_s"} <= set(_found(columns, PLAIN))


def _mapped_rows(table: Table, how: Reading, found: dict[str, str]) -> Rows:
    if not {"start_s", "end_s"} <= set(found):
        raise UnknownFormat(
            f"{table.path}: has no columns start_s and end_s (it has {', '.join(table.names)})"
        )
    if how.label_column != "auto":
        found["label"] = label_column(table, (how.label_column,))
    rows: Rows = {
        "audio": table.text(found.get("file", "")),
        "start_s": table.seconds(found["start_s"]),
        "end_s": table.seconds(found["end_s"]),
        "label": table.text(found.get("label", "")),
        "status": np.full(len(table.rows), "POS", dtype=object),
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
    return chosen(rows, table.good)


def _without_header(_: Sequence[str]) -> bool:
    return False


# Recognised by the file, not by a header.
AUDACITY = Dialect("audacity", "Audacity label track", _without_header, audacity_rows)
PARQUET = Dialect("parquet", "Parquet table", _without_header, mapped(PLAIN))
# A header is of the first that it fits.
DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "raven", "Raven table (Begin Time (s), End Time (s))",
            _all_of(*RAVEN_COLUMNS), raven_rows,
        ),
        Dialect(
            "dcase", "DCASE CSV (Audiofilename, Starttime, Endtime)",
            _all_of(*DCASE_COLUMNS), dcase_rows,
        ),
        Dialect(
            "birdnet", "BirdNET CSV (Start (s), End (s), Confidence)",
            _all_of("Start (s)", "End (s)", "Confidence"), mapped(BIRDNET),
        ),
        Dialect("csv", "plain CSV (file, start_s, end_s, label)", _is_plain, mapped(PLAIN)),
        AUDACITY,
        PARQUET,
        Dialect("clips", "list of clips (file, label)", _all_of(*CLIPS_COLUMNS), clips_rows),
    )
}  # fmt: skip
# The dialects whose rows have times.
EVENTS = tuple(name for name in DIALECTS if name != "clips")
