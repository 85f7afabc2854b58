"""Readers of annotation tables: DCASE, clip lists and Raven selections, each to rows of events.

Every reader returns the columns of one row per event, and a list of problems. The columns, numpy
arrays of one length, are ``audio`` (the recording's name as written), ``start_s``, ``end_s``,
``label``, ``status`` and ``row`` (as a spreadsheet counts: the header is row 1). What a reader
cannot make sense of as a whole it raises as a `UserError` that names the file; bad rows are
problems, and the other rows are kept.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from preprocessing.errors import UserError
from preprocessing.events import SPLITS, STATUSES, Problem, at_rows
from preprocessing.recordings import base_name

DCASE_COLUMNS = ("Audiofilename", "Starttime", "Endtime")
CLIPS_COLUMNS = ("file", "label")
RAVEN_COLUMNS = ("Begin Time (s)", "End Time (s)")
RAVEN_LABELS = ("Annotation", "Species", "Label")
RECORDING, SUBSET = "recording", "subset"
Rows = dict[str, np.ndarray]
_SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


class UnknownFormat(UserError):
    """The columns are not those of the expected kind of table."""


def read_dcase(path: Path, *, q_class: str) -> tuple[Rows, list[Problem]]:
    """Read a DCASE few-shot CSV of any of its three kinds.

    ``Audiofilename,Starttime,Endtime`` and then either one column per class, or one ``CALL``
    column (the class is the name of the folder), or one ``Q`` column (the class is the recording
    or the folder, as ``q_class`` says). Each POS, UNK and NEG is an event of its own.

    Raises:
        UnknownFormat: another header.
        UserError: unreadable as a table.
    """
    table = _Table.read(path, DCASE_COLUMNS, "\t,;")
    audio = table.text("Audiofilename")
    start_s, end_s = table.seconds("Starttime"), table.seconds("Endtime")
    known = {name.casefold() for name in DCASE_COLUMNS}
    classes = [name for name in table.names if name.casefold() not in known]
    if not classes:
        raise UnknownFormat(f"{path}: has no class column after {', '.join(DCASE_COLUMNS)}")
    table.refuse(audio == "", "Audiofilename", audio, "the name of a recording")
    labels, statuses = [], []
    for name in classes:
        status = table.text(name, str.upper)
        table.refuse(~_among(status, STATUSES), name, status, "POS, NEG or UNK")
        statuses.append(status)
        labels.append(_dcase_label(path, audio, name, len(classes), q_class))
    rows = {
        "audio": np.repeat(audio, len(classes)),
        "start_s": np.repeat(start_s, len(classes)),
        "end_s": np.repeat(end_s, len(classes)),
        "label": np.stack(labels, axis=1).ravel(),
        "status": np.stack(statuses, axis=1).ravel(),
        "row": np.repeat(table.rows, len(classes)),
    }
    return _chosen(rows, np.repeat(table.good, len(classes))), table.problems


def _dcase_label(
    path: Path, audio: np.ndarray, column: str, n_columns: int, q_class: str
) -> np.ndarray:
    folder, label = path.parent.name, column
    if n_columns == 1 and column.casefold() == "q" and q_class == RECORDING:
        # Subsets may number their recordings alike: the folder tells them apart.
        labels = {name: f"{folder}/{Path(base_name(name)).stem}" for name in set(audio)}
        return np.array([labels[name] for name in audio], dtype=object)
    if n_columns == 1 and column.casefold() in ("call", "q"):
        label = folder
    return np.full(len(audio), label, dtype=object)


def read_clips(path: Path) -> tuple[Rows, list[Problem]]:
    """Read a list of clips, ``file,label[,source][,split]``; other columns are passed over.

    Beside the columns of every reader there are ``source`` and ``split``, "" where the list has
    none. A clip is one POS event from end to end: ``end_s`` is NaN, its length not yet known.

    Raises:
        UnknownFormat: no ``file`` or no ``label`` column.
        UserError: unreadable as a table.
    """
    table = _Table.read(path, CLIPS_COLUMNS, ",;\t")
    audio, label = (table.text(name) for name in CLIPS_COLUMNS)
    table.refuse(audio == "", "file", audio, "the name of a recording")
    table.refuse(label == "", "label", label, "a class")
    split = table.text("split", lambda text: _SPLIT_NAMES.get(text.casefold(), text))
    if table.has("split"):
        table.refuse(~_among(split, SPLITS), "split", split, "train, val or test")
    size = len(table.rows)
    rows = {
        "audio": audio,
        "start_s": np.zeros(size),
        "end_s": np.full(size, np.nan),
        "label": label,
        "status": np.full(size, "POS", dtype=object),
        "row": table.rows,
        "source": table.text("source"),
        "split": split,
    }
    return _chosen(rows, table.good), table.problems


def read_raven(path: Path, *, label_column: str) -> tuple[Rows, list[Problem]]:
    """Read a Raven selection table; a selection shown in several views counts once.

    ``audio`` is ``Begin Path`` or ``Begin File``, or "" where the table has neither (it then
    belongs to the recording it is named after). Where there is a ``File Offset (s)``, times are
    from the head of that file, not of the whole sequence of files.

    Args:
        path: the table, tab-separated as Raven writes it.
        label_column: the column that holds the class; "auto": `RAVEN_LABELS`, in any case.

    Raises:
        UnknownFormat: no begin and end times.
        UserError: no label column, several files without offsets, or unreadable as a table.
    """
    table = _Table.read(path, RAVEN_COLUMNS, "\t,;")
    label = table.text(_raven_label(table, label_column))
    start_s, end_s = (table.seconds(name) for name in RAVEN_COLUMNS)
    source = next((name for name in ("Begin Path", "Begin File") if table.has(name)), "")
    audio = table.text(source)
    if source and table.has("File Offset (s)"):
        offset_s = table.seconds("File Offset (s)")
        start_s, end_s = offset_s, offset_s + (end_s - start_s)
    elif len(set(audio)) > 1:
        raise UserError(
            f"{path}: spans {len(set(audio))} recordings but has no column `File Offset (s)`; "
            "let Raven show that measurement and save the table again"
        )
    unlabelled = table.good & (label == "")
    if unlabelled.any():
        where = at_rows(str(path), table.rows[unlabelled])
        message = "the label is empty; the selection is left out"
        table.problems.append(Problem("no-label", where, message, False))
    rows = {
        "audio": audio,
        "start_s": start_s,
        "end_s": end_s,
        "label": label,
        "status": np.full(len(label), "POS", dtype=object),
        "row": table.rows,
    }
    keep = table.good & ~unlabelled & ~_other_views(table, rows)
    return _chosen(rows, keep), table.problems


def _raven_label(table: "_Table", label_column: str) -> str:
    wanted = RAVEN_LABELS if label_column == "auto" else (label_column,)
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


def _other_views(table: "_Table", rows: Rows) -> np.ndarray:
    """Raven writes a selection once for each view (waveform, spectrogram): mark the repeats."""
    if not table.has("View"):
        return np.zeros(len(table.rows), dtype=bool)
    keys = pd.DataFrame({name: rows[name] for name in ("audio", "start_s", "end_s", "label")})
    return keys.assign(number=table.text("Selection")).duplicated().to_numpy()


def _among(values: np.ndarray, choices: Sequence[str]) -> np.ndarray:
    return np.logical_or.reduce([values == choice for choice in choices])


def _chosen(rows: Rows, keep: np.ndarray) -> Rows:
    return {name: column[keep] for name, column in rows.items()}


@dataclass
class _Table:
    """A delimited text file as columns of stripped text, with the number of each row."""

    path: Path
    names: list[str]
    separator: str
    columns: Mapping[str, Sequence[str]]  # by casefolded name
    rows: np.ndarray
    good: np.ndarray  # rows without a fatal problem
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, required: Sequence[str], separators: str) -> "_Table":
        """Read the file, taking the separator under which ``required`` are among the columns."""
        text = _decode(path)
        head = text.lstrip("\r\n").splitlines()[0] if text.strip() else ""
        for separator in separators:
            names = [name.strip() for name in next(csv.reader([head], delimiter=separator), [])]
            folded = [name.casefold() for name in names]
            if all(name.casefold() in folded for name in required):
                break
        else:
            raise UnknownFormat(
                f"{path}: its first row is {head[:120]!r}, where the columns "
                f"{', '.join(required)} should be (separated by comma, semicolon or tab)"
            )
        twice = [name for name in names if name and folded.count(name.casefold()) > 1]
        if twice:
            raise UserError(f"{path}: has the column {twice[0]} twice; rename or remove one")
        return cls._from_text(path, text, separator, names)

    @classmethod
    def _from_text(cls, path: Path, text: str, separator: str, names: list[str]) -> "_Table":
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
        cells = [cell.strip() for cell in self.columns[name.casefold()]]
        # A comma can only be the decimal sign where it does not part the columns.
        if self.separator != "," and not any("." in cell for cell in cells):
            cells = [cell.replace(",", ".") for cell in cells]
        numbers = pd.to_numeric(np.array(cells, dtype=object), errors="coerce")
        values = np.asarray(numbers, dtype=np.float64)
        bad = ~np.isfinite(values)
        self.refuse(bad, name, cells, "a number of seconds")
        return values

    def refuse(
        self, bad: np.ndarray, name: str, cells: Sequence[str] | np.ndarray, wanted: str
    ) -> None:
        """Note one fatal problem for all ``bad`` cells of a column, and drop their rows."""
        if bad.any():
            where = at_rows(str(self.path), self.rows[bad])
            message = f"{name} is {cells[int(bad.argmax())]!r}, where {wanted} should be"
            self.problems.append(Problem("bad-row", where, f"{message}; put it right", True))
            self.good &= ~bad


def _decode(path: Path) -> str:
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
