"""A delimited text file as columns of text and numbers, with the number of each row."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.elsewhere import kept
from g5.common.errors import UserError, brief
from g5.common.spreadsheet import unguarded
from preprocessing.annotations.columns import NUMERIC, UNREAD, plain
from preprocessing.annotations.numbers import Decimals, clock_seconds, settled
from preprocessing.annotations.spelling import DITTO
from preprocessing.events import EVENT_COLUMNS, ROWS_SHOWN, Problem, at_rows

Rows = dict[str, np.ndarray]
# What an events table may hold beside `EVENT_COLUMNS`, after which come the file's own columns.
OPTIONAL_COLUMNS = ["low_hz", "high_hz", "score", "distance", "nearest"]
# What an empty row of a table is made of.
_NOTHING = '\t,;|" \ufeff'
# Signs without a width, which nobody sees at the ends of a cell.
_UNSEEN = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
# The first line of a CSV that tells Excel what parts columns; which the header shows, too.
_SEPARATOR_LINE = re.compile(r"""\A"?sep=[^\r\n]"?[\t,; ]*(?=[\r\n])""", re.IGNORECASE)
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
        columns: the table's names for some of ours, as the user says: ``{"start_s": "Begin"}``.
    """

    label_column: str = "auto"
    default_label: str | None = None
    q_class: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


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
    def of_text(
        cls, path: Path, text: str, separator: str, *, quoted: bool = True, short: bool = False
    ) -> "Table":
        """The table that a text with a header is; raises `UserError` where it is none.

        Args:
            path: of the file, for messages.
            text: all of it.
            separator: what parts columns.
            quoted: cells may stand in quotation marks, as CSV has it; Raven's do not.
            short: rows that are cut short are filled up.
        """
        names = header(first_line(text), separator)
        while names and not names[-1]:  # columns that a spreadsheet left
            names.pop()
        quoted = quoted or first_line(text).startswith('"')
        folded = [name.casefold() for name in names]
        doubled = [name for name in names if name and folded.count(name.casefold()) > 1]
        # Columns that nobody reads may be what they like.
        twice = [name for name in doubled if plain(name) not in UNREAD]
        if twice:
            raise UserError(f"{path}: has the column {twice[0]} twice; rename or remove one")
        lines, numbers, ragged = [], [], []
        width = len(names)
        records = _quoted(path, text, separator, width) if quoted else _bare(text, separator)
        for number, fields in records:
            if not any(map(str.strip, fields)):
                continue
            if short and len(fields) < width:
                fields = [*fields, *[""] * (width - len(fields))]
            if len(fields) != width:
                if len(fields) < width or any(map(str.strip, fields[width:])):
                    ragged.append((number, len(fields)))
                    continue
                del fields[width:]
            lines.append(fields)
            numbers.append(number)
        again = [row for row, fields in zip(numbers[1:], lines[1:], strict=True)
                 if fields == lines[0]]  # fmt: skip
        kept = [at for at in range(1, len(lines)) if numbers[at] not in again]
        lines, numbers = [lines[at] for at in kept], [numbers[at] for at in kept]
        cells = list(zip(*lines, strict=True)) or [()] * width
        columns = {name.casefold(): cell for name, cell in zip(names, cells, strict=True) if name}
        rows = np.array(numbers, dtype=np.int64)
        names = [name for name in names if name]
        table = cls(path, names, separator, columns, rows, np.ones(len(rows), dtype=bool))
        if ragged:
            where = at_rows(str(path), [row for row, _ in ragged])
            message = f"has {ragged[0][1]} fields, where the header has {width}; put it right"
            table.problems.append(Problem("bad-row", where, message, True))
        if again:
            where = at_rows(str(path), again)
            table.problems.append(Problem("header", where, "repeats the header; left out", False))
        if not quoted:
            table._unquote()
        return table

    def _unquote(self) -> None:
        """Take off the quotation marks that a spreadsheet puts around some cells, and say so."""
        wrapped = np.zeros(len(self.rows), dtype=bool)
        columns = {}
        for name, cells in self.columns.items():
            bare = [unwrapped(cell) for cell in cells]
            pairs = zip(cells, bare, strict=True)
            wrapped |= np.array([a != b and '"' not in b for a, b in pairs], dtype=bool)
            columns[name] = bare
        self.columns = columns
        if wrapped.any():
            where = self.at(wrapped)
            message = "quotation marks around a cell are left out"
            self.problems.append(Problem("quotes", where, message, False))

    def at(self, some: np.ndarray) -> str:
        """Where some rows are: their numbers, and Raven's own where it has numbered them."""
        where = at_rows(str(self.path), self.rows[some])
        numbers = self.text("Selection")[some].tolist() if self.has("Selection") else []
        if not any(numbers):
            return where
        more = ", ..." if len(numbers) > ROWS_SHOWN else ""
        return f"{where} (selection {', '.join(numbers[:ROWS_SHOWN])}{more})"

    def has(self, name: str) -> bool:
        return name.casefold() in self.columns

    def text(self, name: str, change: Callable[[str], str] = str) -> np.ndarray:
        """A column of stripped and then changed text; all "" where there is no such column."""
        if not self.has(name):
            return np.full(len(self.rows), "", dtype=object)
        # Texts repeat: what is done to each is done once.
        codes, texts = pd.factorize(np.array(self.columns[name.casefold()], dtype=object))
        plain = unguarded if self.separator in ",;" else str
        clean = np.array([change(plain(trimmed(text))) for text in texts], dtype=object)
        return clean[codes] if len(codes) else np.zeros(0, dtype=object)

    def repeated(self, name: str) -> np.ndarray:
        """`text` with the value of the row above where a cell says so by a ditto mark; told."""
        texts = self.text(name)
        marks = among(texts, DITTO)
        marks[:1] = False
        if marks.any():
            for row in np.flatnonzero(marks):
                texts[row] = texts[row - 1]
            where = self.at(marks)
            message = f"{name} is a ditto mark, read as the value above"
            self.problems.append(Problem("ditto", where, message, False))
        return texts

    def seconds(self, name: str, *, empty: bool = False) -> np.ndarray:
        """A column of finite numbers, or of ``h:mm:ss``, told; rows with anything else are refused.

        ``empty``: a cell may be empty, which is NaN.
        """
        values, cells = self._floats(name)
        clock = np.array([":" in cell for cell in cells], dtype=bool)
        values[clock] = [clock_seconds(cell) for cell in cells if ":" in cell]
        clock &= np.isfinite(values)
        if clock.any():
            at = int(clock.argmax())
            message = f"{name} is {cells[at]!r}, read as {values[at]:g} s"
            self.problems.append(Problem("clock", self.at(clock), message, False))
        bad = ~np.isfinite(values)
        if empty:
            bad &= ~among(np.array([cell.casefold() for cell in cells], object), ("", "nan"))
        why = f" ({self._decimals.note})" if not self._decimals.sign else ""
        self.refuse(bad, name, cells, f"a number of seconds{why}")
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
            where = self.at(bad)
            message = f"{name} is {cells[int(bad.argmax())]!r}, which is no number and passed over"
            self.problems.append(Problem("bad-number", where, message, False))
        return values

    def _floats(self, name: str) -> tuple[np.ndarray, list[str]]:
        cells = [cell.strip() for cell in self.columns[name.casefold()]]
        number = self._decimals.number
        return np.array([number(cell) for cell in cells], dtype=np.float64), cells

    @cached_property
    def _decimals(self) -> Decimals:
        """The decimal sign, from all columns that hold numbers; what is odd about it is noted."""
        numeric = [cells for name, cells in self.columns.items() if plain(name) in NUMERIC]
        found = settled((cell.strip() for cells in numeric for cell in cells), self.separator)
        if found.note:
            self.problems.append(Problem("decimal-sign", str(self.path), found.note, False))
        return found

    def renamed(self, names: Mapping[str, str]) -> "Table":
        """A table whose columns have our names, given as ``{ours: theirs}``.

        Raises:
            UserError: it has no such column.
        """
        lost = [theirs for theirs in names.values() if not self.has(theirs)]
        if lost:
            has = ", ".join(self.names)
            raise UserError(f"{self.path}: has no column {lost[0]} (it has {has})")
        ours = {theirs.casefold(): name for name, theirs in names.items()}
        called = [
            ours.get(name.casefold(), f"{name} (table)" if name.casefold() in names else name)
            for name in self.names
        ]
        pairs = zip(called, self.names, strict=True)
        columns = {name.casefold(): self.columns[old.casefold()] for name, old in pairs}
        return Table(
            self.path, called, self.separator, columns, self.rows, self.good, self.problems
        )

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
            where = self.at(bad)
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


def among(values: np.ndarray, choices: Iterable[str]) -> np.ndarray:
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
        where = table.at(bad)
        first = int(bad.argmax())
        message = f"{low_hz[first]:g} to {high_hz[first]:g} Hz is no band; the limits are left out"
        table.problems.append(Problem("bad-band", where, message, False))
    none = bad | np.isnan(low_hz) | np.isnan(high_hz)
    return {"low_hz": np.where(none, np.nan, low_hz), "high_hz": np.where(none, np.nan, high_hz)}


def first_line(text: str) -> str:
    """The first line that holds more than separators, or ""."""
    return next((line for line in lines_of(text) if line.strip(_NOTHING)), "")


def header(line: str, separator: str) -> list[str]:
    """The names of the columns in a table's first line."""
    try:
        names = next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # longer than a cell may be: whoever reads the rows says so
        names = line.split(separator)
    return [unguarded(trimmed(name)) for name in names]


def trimmed(text: str) -> str:
    """A text without what cannot be seen at its ends."""
    return text.strip().strip(_UNSEEN).strip()


def _quoted(path: Path, text: str, separator: str, width: int) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV with their numbers; raises `UserError` at a stray quotation mark."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    first = 1
    try:
        for fields in reader:
            # A mark that stands alone swallows the rows up to the next.
            swallowed = width > 1 and any(
                line.count(separator) >= width - 1
                for cell in fields if "\n" in cell or "\r" in cell
                for line in cell.splitlines()
            )  # fmt: skip
            if swallowed:
                raise csv.Error("a cell holds whole rows")
            yield reader.line_num, fields
            first = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}, row {first}: is no row of a table ({brief(error)}); "
            "look for a stray quotation mark"
        ) from error


def _bare(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table without quoting, with their numbers."""
    for number, line in enumerate(lines_of(text), start=1):
        yield number, line.split(separator)


def lines_of(text: str) -> list[str]:
    """Not splitlines(): a cell may hold characters that Python takes for ends of lines."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def unwrapped(cell: str) -> str:
    """A cell without quotation marks around it, if those inside are all doubled."""
    text = cell.strip()
    inside = text[1:-1]
    if len(text) < 3 or text[0] != '"' or text[-1] != '"' or '"' in inside.replace('""', ""):
        return cell
    return inside.replace('""', '"')


def decode(path: Path) -> str:
    """The text of a table: UTF-8 or UTF-16 with or without a byte-order mark, else Windows-1252,
    or an old Mac's where lines end like its.

    Raises:
        UserError: no such file, or no text.
    """
    try:
        with kept.opened(path) as handle:
            data = handle.read()
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror})") from error
    return _SEPARATOR_LINE.sub("", _decoded(path, data))


def _decoded(path: Path, data: bytes) -> str:
    encoding = _encoding(data)
    if b"\0" in data and encoding == "utf-8-sig":
        raise UserError(f"{path}: is no text but binary data; replace or remove it")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8-sig":
            raise UserError(f"{path}: is no whole {encoding} text; save it anew") from error
    if b"\r" in data and b"\n" not in data and all(byte < 0xC0 for byte in data):
        return data.decode("mac_roman")  # of which Windows would have letters above
    # Where tables were put together, some lines may still be UTF-8.
    return "\n".join(map(_line, data.split(b"\n")))


def _line(data: bytes) -> str:
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")  # cp1252 leaves five bytes without a meaning


def _encoding(data: bytes) -> str:
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # Without a mark, every other byte of a table's first row is zero.
    head = data[:200] if len(data) % 2 == 0 else b""
    for odd, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = head[odd::2], head[1 - odd :: 2]
        if zeros and zeros.count(0) > 0.9 * len(zeros) and not others.count(0):
            return encoding
    return "utf-8-sig"
