"""A delimited text file as columns of text and numbers, with the number of each row."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from preprocessing.events import EVENT_COLUMNS, Problem, at_rows

Rows = dict[str, np.ndarray]
# What an events table may hold beside `EVENT_COLUMNS`, after which come the file's own columns.
OPTIONAL_COLUMNS = ["low_hz", "high_hz", "score", "distance", "nearest"]
OUR_COLUMNS = {*EVENT_COLUMNS, *OPTIONAL_COLUMNS, "audio", "row"}


class UnknownFormat(UserError):
    """The columns are not those of the expected kind of table."""


@dataclass(frozen=True)
class Reading:
    """What a table is read for.

    Attributes:
        label_column: the column that holds the class; "auto": the dialect's own.
        default_label: the class where a table must name one and does not; None: that is an error.
        q_class: what one class of a DCASE ``Q`` column is, "recording" or "subset" (both with the
            folder's name); None: the recording's name alone, also where there is no class column.
    """

    label_column: str = "auto"
    default_label: str | None = None
    q_class: str | None = None


@dataclass
class Table:
    """A delimited text file as columns of stripped text, with the number of each row."""

    path: Path
    names: list[str]
    separator: str
    columns: Mapping[str, Sequence[str]]  # by casefolded name
    rows: np.ndarray
    good: np.ndarray  # rows without a fatal problem
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def of_text(cls, path: Path, text: str, separator: str) -> "Table":
        """The table that a text with a header is; raises `UserError` where it is none."""
        names = header(first_line(text), separator)
        folded = [name.casefold() for name in names]
        twice = [name for name in names if name and folded.count(name.casefold()) > 1]
        if twice:
            raise UserError(f"{path}: has the column {twice[0]} twice; rename or remove one")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        lines, numbers, ragged = [], [], []
        width = len(names)
        try:
            for fields in reader:
                if not any(fields):
                    continue
                if len(fields) != width:
                    if len(fields) < width or any(fields[width:]):
                        ragged.append((reader.line_num, len(fields)))
                        continue
                    del fields[width:]
                lines.append(fields)
                numbers.append(reader.line_num)
        except csv.Error as error:
            raise UserError(
                f"{path}, row {reader.line_num}: is no row of a table ({error}); "
                "look for a stray quotation mark"
            ) from error
        del lines[:1], numbers[:1]  # the header
        cells = list(zip(*lines, strict=True)) or [()] * width
        columns = {name.casefold(): cell for name, cell in zip(names, cells, strict=True) if name}
        rows = np.array(numbers, dtype=np.int64)
        names = [name for name in names if name]
        table = cls(path, names, separator, columns, rows, np.ones(len(rows), dtype=bool))
        if ragged:
            where = at_rows(str(path), [row for row, _ in ragged])
            message = f"has {ragged[0][1]} fields, where the header has {width}; put it right"
            table.problems.append(Problem("bad-row", where, message, True))
        return table

    def has(self, name: str) -> bool:
        return name.casefold() in self.columns

    def text(self, name: str, change: Callable[[str], str] = str) -> np.ndarray:
        """A column of stripped and then changed text; all "" where there is no such column."""
        if not self.has(name):
            return np.full(len(self.rows), "", dtype=object)
        # Texts repeat: what is done to each is done once.
        codes, texts = pd.factorize(np.array(self.columns[name.casefold()], dtype=object))
        clean = np.array([change(text.strip()) for text in texts], dtype=object)
        return clean[codes] if len(codes) else np.zeros(0, dtype=object)

    def seconds(self, name: str) -> np.ndarray:
        """A column of finite numbers; rows with anything else are refused."""
        values, cells = self._floats(name)
        self.refuse(~np.isfinite(values), name, cells, "a number of seconds")
        return values

    def numbers(self, name: str) -> np.ndarray:
        """A column of finite numbers, NaN where a cell is empty or the column is not there.

        A cell with anything else is noted and NaN; its row is kept.
        """
        if not self.has(name):
            return np.full(len(self.rows), np.nan)
        values, cells = self._floats(name)
        values[~np.isfinite(values)] = np.nan
        bad = np.isnan(values) & ~among(np.array(cells, dtype=object), ("", "nan", "NaN"))
        if bad.any():
            where = at_rows(str(self.path), self.rows[bad])
            message = f"{name} is {cells[int(bad.argmax())]!r}, which is no number and passed over"
            self.problems.append(Problem("bad-number", where, message, False))
        return values

    def _floats(self, name: str) -> tuple[np.ndarray, list[str]]:
        cells = [cell.strip() for cell in self.columns[name.casefold()]]
        # A comma can only be the decimal sign where it does not part the columns.
        if self.separator != "," and not any("." in cell for cell in cells):
            cells = [cell.replace(",", ".") for cell in cells]
        return np.array([as_float(cell) for cell in cells], dtype=np.float64), cells

    def extras(self, used: Iterable[str]) -> Rows:
        """The columns that are none of ``used``, as text under the names that the file has.

        Those that have one of our names and another meaning are called ``"<name> (table)"``.
        """
        taken = {name.casefold() for name in used}
        return {
            f"{name} (table)" if name in OUR_COLUMNS else name: self.text(name)
            for name in self.names
            if name.casefold() not in taken
        }

    def refuse(
        self, bad: np.ndarray, name: str, cells: Sequence[str] | np.ndarray, wanted: str
    ) -> None:
        """Note one fatal problem for all ``bad`` cells of a column, and drop their rows."""
        if bad.any():
            where = at_rows(str(self.path), self.rows[bad])
            message = f"{name} is {cells[int(bad.argmax())]!r}, where {wanted} should be"
            self.problems.append(Problem("bad-row", where, f"{message}; put it right", True))
            self.good &= ~bad


def label_column(table: Table, wanted: Sequence[str]) -> str:
    """The first of the ``wanted`` columns that the table has; raises `UserError` if none."""
    found = [name for name in wanted if table.has(name)]
    if not found:
        raise UserError(
            f"{table.path}: has no column {' or '.join(wanted)} for the class (it has "
            f"{', '.join(table.names)}); set data.label_column"
        )
    if len(found) > 1:
        message = f"has the columns {' and '.join(found)}; {found[0]} is taken as the class"
        advice = "data.label_column chooses another"
        table.problems.append(
            Problem("label-column", str(table.path), f"{message} ({advice})", False)
        )
    return found[0]


def among(values: np.ndarray, choices: Sequence[str]) -> np.ndarray:
    return np.logical_or.reduce([values == choice for choice in choices])


def chosen(rows: Rows, keep: np.ndarray) -> Rows:
    return {name: column[keep] for name, column in rows.items()}


def band(table: Table, low: str, high: str) -> Rows:
    """Columns ``low_hz`` and ``high_hz``, both NaN where a row names no band or no possible one.

    Raven writes 0-0 for a selection in a waveform, Audacity -1 for a limit that is not set.
    """
    low_hz, high_hz = table.numbers(low), table.numbers(high)
    none = (low_hz <= 0) & (high_hz <= 0)
    low_hz[none], high_hz[none] = np.nan, np.nan
    bad = (low_hz >= high_hz) | (low_hz < 0)
    if bad.any():
        where = at_rows(str(table.path), table.rows[bad])
        first = int(bad.argmax())
        message = f"{low_hz[first]:g} to {high_hz[first]:g} Hz is no band; the limits are left out"
        table.problems.append(Problem("bad-band", where, message, False))
    none = bad | np.isnan(low_hz) | np.isnan(high_hz)
    return {"low_hz": np.where(none, np.nan, low_hz), "high_hz": np.where(none, np.nan, high_hz)}


def first_line(text: str) -> str:
    """The first line that is not empty, or ""."""
    return text.lstrip("\r\n").splitlines()[0] if text.strip() else ""


def header(line: str, separator: str) -> list[str]:
    """The names of the columns in a table's first line."""
    return [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]


def as_float(cell: str) -> float:
    """The number that a cell holds, to the last bit; NaN if it holds none."""
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def decode(path: Path) -> str:
    """UTF-8 with or without a byte-order mark, UTF-16 with one, else Latin-1."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror})") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        raise UserError(f"{path}: is no text but binary data; replace or remove it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
