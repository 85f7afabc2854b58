"""Reads any annotation table: tells its dialect by what is in the file."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.elsewhere import kept
from g5.common.errors import UserError
from preprocessing import check
from preprocessing.annotations.audacity import audacity_table, is_audacity
from preprocessing.annotations.dialects import (
    AUDACITY,
    DIALECTS,
    EVENT_NAMES,
    EVENTS,
    JSON,
    LIST_NAMES,
    PARQUET,
    TEXTGRID,
    Dialect,
)
from preprocessing.annotations.documents import document_table, is_document
from preprocessing.annotations.meanings import understood
from preprocessing.annotations.raven import recording_of
from preprocessing.annotations.spelling import NO_CALL, folded, odd_labels
from preprocessing.annotations.table import (
    OPTIONAL_COLUMNS,
    OUR_COLUMNS,
    Reading,
    Rows,
    Table,
    UnknownFormat,
    chosen,
    decode,
    first_line,
    header,
)
from preprocessing.events import EVENT_COLUMNS, Problem, at_rows

# What calls are called where nothing in the table says.
CALL = "call"
SEPARATORS = "\t,;|"
# The dialects that may be of the recording that the file is named after.
OF_ONE_FILE = ("raven", AUDACITY.name, TEXTGRID.name)


def read_table(
    path: Path, how: Reading, *, among: Sequence[str] = EVENTS
) -> tuple[Rows, list[Problem]]:
    """Read an annotation table of any of some dialects.

    Args:
        path: the table.
        how: what it is read for.
        among: names of the `DIALECTS` that it may be in.

    Returns:
        The good rows, one per event, and what is wrong with the others. ``audio`` is "" where the
        table does not name recordings, ``label`` where a row has none.

    Raises:
        UnknownFormat: it is in none of these dialects.
        UserError: a folder, binary data, no such file, no table.
    """
    dialect, table = _opened(path, among) if not how.columns else _named(path, how.columns, among)
    table = understood(table)
    rows = dialect.rows(table, how)
    problems = table.problems
    if dialect.name in EVENTS:
        rows, found = _without_no_calls(rows, path)
        problems = [*problems, *found, *_nameless(dialect, rows, path)]
    lines = odd_labels(rows["label"])
    return rows, [*problems, *(Problem("label", str(path), line, False) for line in lines)]


def columns_of(text: str) -> dict[str, str]:
    """The names of a table's columns as somebody types them: ``start_s=Begin,label=Sp``.

    Raises:
        UserError: no such list, or a name that is none of ours.
    """
    pairs = [pair.partition("=") for pair in text.split(",")]
    return known_columns({ours.strip(): theirs.strip() for ours, _, theirs in pairs}, "--columns")


def known_columns(columns: Mapping[str, str], key: str) -> dict[str, str]:
    """``{ours: theirs}``, checked; raises `UserError`, which names ``key``, for none of ours."""
    for ours, theirs in columns.items():
        if ours not in (*EVENT_NAMES, *LIST_NAMES) or not theirs:
            raise UserError(
                f"{key}: {ours}={theirs} should be OURS=THEIRS, with one of ours: "
                f"{', '.join((*EVENT_NAMES, *LIST_NAMES))}"
            )
    return dict(columns)


def columns_in(path: Path, columns: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """The user's names, where several tables are read: of one that has them all, or of no format.

    None: it is read as its format is.
    """
    if not columns:
        return None
    try:
        format_of(path)
    except UnknownFormat:
        return columns
    table = None if path.suffix.lower() == ".json" else read_texts(path, short=True)
    return columns if table and all(map(table.has, columns.values())) else None


def _named(path: Path, columns: Mapping[str, str], among: Sequence[str]) -> tuple[Dialect, Table]:
    """A table of any columns that the user has named."""
    kind = "csv" if "csv" in among else among[0]
    return DIALECTS[kind], read_texts(path).renamed(columns)


def _without_no_calls(rows: Rows, path: Path) -> tuple[Rows, list[Problem]]:
    """BirdNET writes a row where it found nothing."""
    silent = np.array([folded(label) in NO_CALL for label in rows["label"]], dtype=bool)
    if not silent.any():
        return rows, []
    where = at_rows(str(path), rows["row"][silent])
    message = f"{rows['label'][silent][0]!r} says that nothing called; it is left out"
    return chosen(rows, ~silent), [Problem("no-call", where, message, False)]


def _nameless(dialect: Dialect, rows: Rows, path: Path) -> list[Problem]:
    """Rows of a table with several recordings or classes that say none."""
    problems = []
    for column, what, instead in (
        ("audio", "recording", f"is taken as of {recording_of(path)!r}"),
        ("label", "class", f"is called {CALL!r}"),
    ):
        empty = rows[column] == ""
        if empty.any():
            # Some are one file's, which they are named after.
            if empty.all() and column == "audio" and dialect.name in OF_ONE_FILE:
                continue
            where = path if empty.all() else at_rows(str(path), rows["row"][empty])
            message = f"names no {what}; it {instead}"
            problems.append(Problem(f"no-{what}", str(where), message, False))
    return problems


def read_events(
    path: str | Path, *, boxes: bool = True, columns: Mapping[str, str] | None = None
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read an annotation table of any format that `format_of` knows.

    Args:
        path: the table.
        boxes: put right and report what is no box in time: rows that end before or where they
            start are left out, a start before zero is cut, repeats count once, overlaps are
            noted. False: rows are taken as they stand, if they are numbers.
        columns: of a table of no known format, its names for ours (`columns_of`).

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
    rows, problems = read_table(path, Reading(default_label=CALL, columns=columns or {}))
    events = _events(rows, path)
    if boxes:
        events, found = _boxes(events, path)
        problems = [*problems, *found]
    order = np.lexsort((events["row"], events["end_s"], events["start_s"], events["file"]))
    return events.iloc[order].reset_index(drop=True), problems


def format_of(path: str | Path) -> str:
    """The dialect of a table of events: "raven", "dcase", "birdnet", "csv", "audacity", "parquet".

    Raises:
        UnknownFormat: none of them.
        UserError: a folder, binary data, no such file.
    """
    return _recognised(Path(path), EVENTS)[0].name


def _opened(path: Path, among: Sequence[str]) -> tuple[Dialect, Table]:
    dialect, text, separator = _recognised(path, among)
    if dialect is PARQUET:
        return dialect, _parquet_table(path)
    if dialect is AUDACITY:
        return dialect, audacity_table(path, text)
    if dialect in (TEXTGRID, JSON):
        return dialect, document_table(path, text)
    # Raven parts cells by tabs and writes what was typed, quotation marks and all.
    quoted = dialect.name != "raven" or separator != "\t"
    return dialect, Table.of_text(path, text, separator, quoted=quoted)


def read_texts(path: Path, *, short: bool = False) -> Table:
    """Any table with a header, whatever its columns: all cells are text.

    Args:
        path: the table.
        short: rows that are cut short are filled up.

    Raises:
        UserError: a folder, binary data, no such file, no table, or empty.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder, where a table should be")
    if path.suffix.lower() == ".parquet":
        return _parquet_table(path)
    text = decode(path)
    head = first_line(text)
    if not head:
        raise UserError(f"{path}: cannot be read as a CSV or another table: it is empty")
    separator = max(SEPARATORS, key=lambda sign: len(header(head, sign)))
    return Table.of_text(path, text, separator if separator in head else ",", short=short)


def _recognised(path: Path, among: Sequence[str]) -> tuple[Dialect, str, str]:
    """The dialect of a file, its text, and what parts its columns."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder, where a table of events should be")
    if path.suffix.lower() == ".parquet" and PARQUET.name in among:
        return PARQUET, "", ""
    text = decode(path)
    head = first_line(text)
    track = is_audacity(head) if head else path.suffix.lower() == ".txt"  # one without labels
    if track and AUDACITY.name in among:
        return AUDACITY, text, "\t"
    if is_document(head):
        document = TEXTGRID if "ooTextFile" in head else JSON
        if document.name in among:
            return document, text, ""
    if not head:
        raise UnknownFormat(f"{path}: is empty; a table has a first row with its columns")
    known = [DIALECTS[name] for name in DIALECTS if name in among]
    for dialect in known:
        for separator in SEPARATORS:
            if dialect.fits(header(head, separator)):
                return dialect, text, separator
    *others, last = [dialect.example for dialect in known]
    examples = f"{', '.join(others)} or {last}" if others else last
    raise UnknownFormat(
        f"{path}: its first row is {head[:120]!r}; that is no {examples}. Which column is what is "
        "said by --columns start_s=...,end_s=...,label=... (in training data.columns)"
    )


def _parquet_table(path: Path) -> Table:
    try:
        with kept.local(path) as there:
            data = pd.read_parquet(there)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is no readable Parquet table ({error})".split("\n")[0]) from error
    # As text and back, floats keep every bit: a Parquet table is checked as all others are.
    cells = {str(name).casefold(): _texts(pd.Series(data[name])) for name in data.columns}
    names, size = [str(name) for name in data.columns], len(data)
    return Table(path, names, ".", cells, np.arange(1, size + 1), np.ones(size, dtype=bool))


def _texts(column: pd.Series) -> list[str]:
    return [
        "" if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)
    ]


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
