"""Annotation tables of every kind, read into events and written from them.

For a corpus (`read_dcase`, `read_clips`, `read_raven`) a reader returns `Rows`, the columns of one
row per event, and a list of problems. The columns, numpy arrays of one length, are ``audio`` (the
recording's name as written), ``start_s``, ``end_s``, ``label``, ``status`` and ``row`` (as a
spreadsheet counts: the header is row 1). `read_events` reads any of the formats into the events
table, and `write_events` writes that table.

What a reader cannot make sense of as a whole it raises as a `UserError` that names the file; bad
rows are problems, and the other rows are kept.
"""

from preprocessing.annotations.clips import read_clips
from preprocessing.annotations.dcase import RECORDING, SUBSET, read_dcase
from preprocessing.annotations.raven import read_raven, recording_of
from preprocessing.annotations.reading import format_of, read_events
from preprocessing.annotations.table import Rows, UnknownFormat
from preprocessing.annotations.writing import SUFFIXES, write_events

__all__ = [
    "RECORDING",
    "SUBSET",
    "SUFFIXES",
    "Rows",
    "UnknownFormat",
    "format_of",
    "read_clips",
    "read_dcase",
    "read_events",
    "read_raven",
    "recording_of",
    "write_events",
]
