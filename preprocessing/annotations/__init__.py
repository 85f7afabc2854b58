"""Annotation tables of every dialect, read into events and written from them.

`read_table` reads any of them and returns `Rows`, the columns of one row per event, and a list of
problems. The columns, numpy arrays of one length, are ``audio`` (the recording's name as written),
``start_s``, ``end_s``, ``label``, ``status`` and ``row`` (as a spreadsheet counts: the header is
row 1), and whatever else a dialect carries. `read_events` gives them as the events table, and
`write_events` writes that table.

What cannot be made sense of as a whole is a `UserError` that names the file; bad rows are
problems, and the other rows are kept.
"""

from preprocessing.annotations.columns import ours, plain
from preprocessing.annotations.dcase import RECORDING, SUBSET
from preprocessing.annotations.dialects import EVENTS
from preprocessing.annotations.raven import recording_of
from preprocessing.annotations.reading import (
    columns_in,
    columns_of,
    format_of,
    known_columns,
    read_events,
    read_table,
    read_texts,
)
from preprocessing.annotations.spelling import odd_labels
from preprocessing.annotations.table import Reading, Rows, Table, UnknownFormat, decode
from preprocessing.annotations.writing import OF_ONE, SUFFIXES, write_events, write_tables

__all__ = [
    "EVENTS",
    "OF_ONE",
    "RECORDING",
    "SUBSET",
    "SUFFIXES",
    "Reading",
    "Rows",
    "Table",
    "UnknownFormat",
    "columns_in",
    "columns_of",
    "decode",
    "format_of",
    "known_columns",
    "odd_labels",
    "ours",
    "plain",
    "read_events",
    "read_table",
    "read_texts",
    "recording_of",
    "write_events",
    "write_tables",
]
