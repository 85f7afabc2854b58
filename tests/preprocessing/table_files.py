"""Annotation tables as programs, spreadsheets and people write them, with what they truly say.

A table is drawn in three steps: events, their rows in a dialect, and the file around them. Some of
its rows are odd; of each of those is known what becomes of it and whether it must be told.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252")
LABELS = (
    "owl", "Tawny Owl", "Strix aluco", "0012", "20240105", "1.5", "tit, great", "tit; blue",
    "5\" wing", "Grünspecht", "x|y", "é", "N", "inf", "1e3", "#3",
)  # fmt: skip
FILES = ("a.wav", "night 1.WAV", "20240105_053000.wav", "site1/x.flac", "D:\\Field\\site 2\\x.wav")
# Cells that are no number of seconds.
NO_TIME = ("", "x", "1:63", "00:61:05", "1.5 s", "--", "NaN", "inf", "1_0", "1.2.3", "#REF!")
# An embedding, and the dialects whose tables may hold some.
VECTOR = (0.25, -1234.5, 12.34567)
IMPORTED = ("plain", "birdnet", "birdnet-r", "warbler", "batdetect")
DCASE_TIMES = ("Starttime", "Endtime")
Event = tuple[str, float, float, str]


@dataclass
class MadeRow:
    """A row's cells by column; what it is read as, and whether that must be told."""

    cells: dict[str, str]
    events: list[Event]
    told: bool = False
    # What is written instead of the cells.
    line: str | None = None


@dataclass
class MadeTable:
    """A table: its name and bytes, the events in it, the numbers of the rows that must be told,
    and whether numbers can be read in two ways, which must be told instead."""

    how: str
    name: str
    content: bytes
    events: list[Event]
    told: list[int]
    unclear: bool = False
    notes: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Style:
    """How numbers and cells are written."""

    separator: str
    decimal: str
    digits: int
    grouped: str  # sign between thousands; "": none
    quoting: str  # none | needed | all

    def number(self, value: float, digits: int | None = None) -> str:
        whole, _, rest = f"{value:.{self.digits if digits is None else digits}f}".partition(".")
        if self.grouped and len(whole) > 3:
            parts = [whole[max(i - 3, 0) : i] for i in range(len(whole), 0, -3)]
            whole = self.grouped.join(reversed(parts))
        return f"{whole}{self.decimal}{rest}" if rest else whole

    def line(self, cells: Sequence[str]) -> str:
        return self.separator.join(map(self._cell, cells))

    def _cell(self, cell: str) -> str:
        needs = any(sign in cell for sign in (self.separator, '"', "\n", "\r"))
        if self.quoting == "all" or (self.quoting == "needed" and needs):
            return '"' + cell.replace('"', '""') + '"'
        return cell


def made_table(rng: np.random.Generator, dialects: Sequence[str] = ()) -> MadeTable:
    """One at random, of all dialects or of some, which have an embedding in every row then."""
    dialect = str(rng.choice(list(dialects or DIALECTS)))
    style, encoding = _style(rng, dialect), str(rng.choice(ENCODINGS))
    rows = DIALECTS[dialect](rng, style)
    for row in rows if dialects else ():
        row.cells |= {f"e{at}": style.number(x, 5) for at, x in enumerate(VECTOR)}
    columns = list(rows[0].cells)
    odd = [] if rng.random() < 0.4 else _odd_rows(rng, rows, dialect, style)
    own = ("owl", "wren", "0012", "WREN")  # classes
    names = [n if n in own else str(rng.choice([n, n.upper(), f" {n} "])) for n in columns]
    numbers = [cell for row in rows for name, cell in row.cells.items() if name in _NUMERIC]
    text, places = _file(rng, names, rows, style, dialect)
    how = f"{dialect} {encoding} {style} odd={odd}"
    told = [places[number] for number, row in enumerate(rows) if row.told]
    events = [event for row in rows for event in row.events]
    return MadeTable(
        how, _name(dialect), text.encode(encoding), events, told, _unclear(style, numbers)
    )


def _style(rng: np.random.Generator, dialect: str) -> Style:
    separator = (
        "\t" if dialect.startswith(("raven", "audacity")) else str(rng.choice([",", ";", "\t"]))
    )
    bare = dialect.startswith(("raven", "audacity"))
    quoting = "none" if bare else str(rng.choice(["needed", "all"]))
    decimal = str(rng.choice([".", ","], p=[0.6, 0.4]))
    grouped = str(rng.choice(["", "", {".": ",", ",": "."}[decimal], " ", "\u00a0"]))
    # Whole numbers as 12.345 look like any computer's numbers with three decimals.
    digits = int(rng.integers(1 if grouped == "." else 0, 5))
    return Style(separator, decimal, digits, grouped, quoting)


def _unclear(style: Style, cells: Sequence[str]) -> bool:
    """Whether no number of the table tells which sign is the decimal one."""
    signed = [
        cell for cell in cells
        if ("," in cell or "." in cell) and ":" not in cell and cell not in NO_TIME
    ]  # fmt: skip
    return bool(signed) and all(re.fullmatch(r"[1-9]\d{0,2}[.,]\d{3}", cell) for cell in signed)


def _events(rng: np.random.Generator, style: Style, files: Sequence[str], labels: Sequence[str]):
    """Some events, no two of which overlap, with times as exact as they are written."""
    found, at = [], float(rng.choice([0.5, 900, 12345]))
    for _ in range(rng.integers(1, 12)):
        start = round(at + float(rng.uniform(1, 5)), style.digits)
        end = round(start + float(rng.uniform(1, 3)), style.digits)
        found.append((str(rng.choice(files)), start, end, str(rng.choice(labels))))
        at = end + 1
    return found


def _times(style: Style, event: Event, start: str, end: str) -> dict[str, str]:
    return {start: style.number(event[1]), end: style.number(event[2])}


def _raven(rng: np.random.Generator, style: Style) -> list[MadeRow]:
    labels = [label for label in LABELS if "\t" not in label]
    named = bool(rng.integers(2))
    rows = []
    for number, event in enumerate(_events(rng, style, FILES if named else ["t"], labels), start=1):
        cells = {
            "Selection": str(number), "View": "Spectrogram 1", "Channel": "1",
            "Begin Time (s)": style.number(event[1] + 3600 * named),
            "End Time (s)": style.number(event[2] + 3600 * named),
            "Low Freq (Hz)": style.number(500.25, 2), "High Freq (Hz)": style.number(4000, 1),
        }  # fmt: skip
        if named:
            cells |= {"Begin Path": event[0], "File Offset (s)": style.number(event[1])}
        rows.append(MadeRow({**cells, "Annotation": event[3]}, [event]))
    return rows


def _raven_views(rng: np.random.Generator, style: Style) -> list[MadeRow]:
    """Each selection in two views, the first of which does not know its band."""
    rows = []
    for row in _raven(rng, style):
        bare = {"View": "Waveform 1", "Low Freq (Hz)": "0", "High Freq (Hz)": "0"}
        rows += [MadeRow(row.cells | bare, []), row]
    return rows


def _audacity(rng: np.random.Generator, style: Style) -> list[MadeRow]:
    labels = [label for label in LABELS if "\t" not in label]
    return [
        MadeRow({"": style.number(event[1]), " ": style.number(event[2]), "  ": event[3]}, [event])
        for event in _events(rng, style, ["t"], labels)
    ]


def _plain(*names: str, score: str = "") -> Callable[[np.random.Generator, Style], list[MadeRow]]:
    """A table with columns for file, start, end and label."""

    def rows(rng: np.random.Generator, style: Style) -> list[MadeRow]:
        found = []
        for event in _events(rng, style, FILES, LABELS):
            file, start, end, label = names
            cells = {file: event[0], **_times(style, event, start, end), label: event[3]}
            cells |= {score: style.number(0.25, 2)} if score else {}
            found.append(MadeRow(cells, [event]))
        return found

    return rows


def _durations(rng: np.random.Generator, style: Style) -> list[MadeRow]:
    rows = []
    for file, start, end, label in _events(rng, style, FILES, LABELS):
        length = round(end - start, style.digits)
        cells = {"IN FILE": file, "OFFSET": style.number(start), "DURATION": style.number(length)}
        rows.append(MadeRow(cells | {"MANUAL ID": label}, [(file, start, start + length, label)]))
    return rows


def _one_hot(rng: np.random.Generator, style: Style) -> list[MadeRow]:
    rows = []
    for event in _events(rng, style, FILES, ["owl", "wren", "0012"]):
        file, _, _, label = event
        ones = {name: "1" if name == label else "0" for name in ("owl", "wren", "0012")}
        cells = {"file": file, **_times(style, event, "start_time", "end_time"), **ones}
        rows.append(MadeRow(cells, [event]))
    return rows


def _dcase(rng: np.random.Generator, style: Style) -> list[MadeRow]:
    return [
        MadeRow(
            {"Audiofilename": event[0], **_times(style, event, *DCASE_TIMES), "WREN": "POS"},
            [event],
        )
        for event in _events(rng, style, FILES, ["WREN"])
    ]


DIALECTS: dict[str, Callable[[np.random.Generator, Style], list[MadeRow]]] = {
    "raven": _raven,
    "raven views": _raven_views,
    "audacity": _audacity,
    "plain": _plain("file", "start_s", "end_s", "label"),
    "onsets": _plain("Recording", "Onset", "Offset", "Species", score="Score"),
    "birdnet": _plain("File", "Start (s)", "End (s)", "Common name", score="Confidence"),
    "birdnet-r": _plain("filepath", "start", "end", "common_name", score="confidence"),
    "warbler": _plain("sound.files", "start", "end", "sound.type", score="selec"),
    "batdetect": _plain("file", "start_time", "end_time", "class", score="class_prob"),
    "kaleidoscope": _durations,
    "one-hot": _one_hot,
    "dcase": _dcase,
}
_NUMERIC = {
    "Begin Time (s)", "End Time (s)", "File Offset (s)", "Low Freq (Hz)", "High Freq (Hz)", "", " ",
    "start_s", "end_s", "Onset", "Offset", "Score", "Start (s)", "End (s)", "Confidence", "start",
    "end", "confidence", "start_time", "end_time", "class_prob", "OFFSET", "DURATION", "Starttime",
    "Endtime",
}  # fmt: skip
_TIMES = (
    "Begin Time (s)", "", "start_s", "Onset", "Start (s)", "start", "start_time", "OFFSET",
    "Starttime",
)  # fmt: skip
_CLASSES = (
    "Annotation", "  ", "label", "Species", "Common name", "common_name", "sound.type", "class",
    "MANUAL ID",
)  # fmt: skip


def _name(dialect: str) -> str:
    return "t.txt" if dialect.startswith(("raven", "audacity")) else "t.csv"


def _odd_rows(
    rng: np.random.Generator, rows: list[MadeRow], dialect: str, style: Style
) -> list[str]:
    """Put some odd rows among the others, or make some of them odd; what they are."""
    kinds = list(_ODD)
    done = []
    for _ in range(rng.integers(1, 4)):
        kind = str(rng.choice(kinds))
        pick = int(rng.integers(len(rows)))
        if any(row.told for row in rows[pick : pick + 2]):
            continue  # one row, one fault; a mark and a copy need the row above
        if _ODD[kind](rng, rows, pick, dialect, style):
            done.append(kind)
    return done


def _column(row: MadeRow, names: Sequence[str]) -> str:
    return next((name for name in names if name in row.cells), "none")


def _bad_time(rng, rows, pick, dialect, style) -> bool:
    row = rows[pick]
    if row.told or row.line is not None or (dialect in ("audacity", "raven views")):
        return False
    cells = row.cells | {_column(row, _TIMES): str(rng.choice(NO_TIME))}
    rows[pick] = MadeRow(cells, [], told=True)
    return True


def _clock(rng, rows, pick, dialect, style) -> bool:
    """A start of hours and minutes."""
    row = rows[pick]
    plain = dialect not in ("audacity", "kaleidoscope", "raven", "raven views")
    if row.told or row.line is not None or not plain or len(row.events) != 1:
        return False
    minutes, seconds = divmod(row.events[0][1], 60)
    start = f"{int(minutes) // 60}:{int(minutes) % 60:02}:{seconds:09.6f}"
    rows[pick] = MadeRow(row.cells | {_column(row, _TIMES): start}, row.events, told=True)
    return True


def _swapped(rng, rows, pick, dialect, style) -> bool:
    """Ends before it starts."""
    row = rows[pick]
    if row.told or dialect in ("kaleidoscope", "raven", "raven views") or row.line is not None:
        return False
    start, end = [name for name in row.cells if name in _NUMERIC][:2]
    cells = row.cells | {start: row.cells[end], end: row.cells[start]}
    rows[pick] = MadeRow(cells, [], told=True)
    return True


def _again(rng, rows, pick, dialect, style) -> bool:
    row = rows[pick]
    if row.told or dialect == "raven views" or row.line is not None:
        return False
    cells = row.cells | ({"Selection": "99"} if "Selection" in row.cells else {})
    rows.insert(pick + 1, MadeRow(cells, [], told=bool(row.events)))
    return bool(row.events)


def _no_label(rng, rows, pick, dialect, style) -> bool:
    row, name = rows[pick], _column(rows[pick], _CLASSES)
    if row.told or name not in row.cells or dialect == "raven views" or row.line is not None:
        return False
    dropped = dialect == "raven"
    events = [] if dropped else [(*event[:3], "call") for event in row.events]
    rows[pick] = MadeRow(row.cells | {name: ""}, events, told=True)
    return True


def _missing(rng, rows, pick, dialect, style) -> bool:
    """A label that may stand for an empty cell; told of the table, not of its row."""
    row, name = rows[pick], _column(rows[pick], _CLASSES)
    if row.told or name not in row.cells or dialect == "raven views" or row.line is not None:
        return False
    label = str(rng.choice(["NA", "nan", "None"]))
    rows[pick] = MadeRow(row.cells | {name: label}, [(*event[:3], label) for event in row.events])
    return True


def _no_call(rng, rows, pick, dialect, style) -> bool:
    row, name = rows[pick], _column(rows[pick], _CLASSES)
    if row.told or name not in row.cells or dialect == "raven views" or row.line is not None:
        return False
    rows[pick] = MadeRow(row.cells | {name: "nocall"}, [], told=True)
    return True


def _blanks(rng, rows, pick, dialect, style) -> bool:
    """Blanks around a label are none of it."""
    row, name = rows[pick], _column(rows[pick], _CLASSES)
    if row.line is not None or name not in row.cells:
        return False
    row.cells[name] = f"  {row.cells[name]} "
    return True


def _ditto(rng, rows, pick, dialect, style) -> bool:
    """A mark for the label of the row above."""
    row, name = rows[pick], _column(rows[pick], _CLASSES)
    above = rows[pick - 1] if pick else None
    if above is None or above.told or not above.events or row.told or name not in row.cells:
        return False
    if dialect in ("raven views",) or above.cells[name].strip().casefold() in ("na", "nan", "none"):
        return False
    if row.line is not None or above.cells[name].strip() in _DITTO:
        return False
    label = above.events[0][3]
    cells = row.cells | {name: str(rng.choice(_DITTO))}
    rows[pick] = MadeRow(cells, [(*event[:3], label) for event in row.events], told=True)
    return True


_DITTO = ('"', "''", "„", '-"-')


def _of(line: str, told: bool) -> Callable[..., bool]:
    def insert(rng, rows, pick, dialect, style) -> bool:
        if dialect == "audacity":
            return False
        rows.insert(pick, MadeRow({}, [], told=told, line=line.replace(",", style.separator)))
        return True

    return insert


def _short(rng, rows, pick, dialect, style) -> bool:
    row = rows[pick]
    if dialect in ("audacity", "raven views") or row.told or row.line is not None:
        return False
    cells = list(row.cells.values())[:2]
    rows[pick] = MadeRow(row.cells, [], told=True, line=style.line(cells))
    return True


def _long(rng, rows, pick, dialect, style) -> bool:
    row = rows[pick]
    if dialect in ("audacity", "raven views") or row.told or row.line is not None:
        return False
    cells = [*row.cells.values(), "x"]
    rows[pick] = MadeRow(row.cells, [], told=True, line=style.line(cells))
    return True


def _spare(rng, rows, pick, dialect, style) -> bool:
    """Empty cells of a spreadsheet, to the right."""
    row = rows[pick]
    if dialect == "audacity" or row.line is not None:
        return False
    row.line = style.line([*row.cells.values(), "", ""])
    return True


def _header_again(rng, rows, pick, dialect, style) -> bool:
    """Two tables, one below the other."""
    row = rows[pick]
    if dialect == "audacity" or not row.cells:
        return False
    rows.insert(pick + 1, MadeRow({}, [], told=True, line=style.line(list(row.cells))))
    return True


_ODD: dict[str, Callable[..., bool]] = {
    "no time": _bad_time, "clock": _clock, "ends before start": _swapped, "again": _again,
    "no label": _no_label, "NA": _missing, "nocall": _no_call, "blanks": _blanks, "ditto": _ditto,
    "separators": _of(",,", told=False), "blank": _of("  ", told=False),
    "empty": _of("", told=False), "comment": _of("# by hand", told=True), "short": _short,
    "long": _long, "spare": _spare, "header again": _header_again,
}  # fmt: skip


def _file(
    rng: np.random.Generator,
    names: Sequence[str],
    rows: Sequence[MadeRow],
    style: Style,
    dialect: str,
) -> tuple[str, list[int]]:
    """The text, and the number of each row in it."""
    lines = [""] * int(rng.choice([0, 0, 0, 1]))
    if dialect != "audacity":
        spare = [""] * int(rng.choice([0, 0, 0, 2]))  # columns that a spreadsheet left
        lines.append(style.line([*names, *spare]))
    places = []
    for row in rows:
        lines.append(style.line(list(row.cells.values())) if row.line is None else row.line)
        places.append(len(lines))
    end = str(rng.choice(["\n", "\r\n", "\r"]))
    return end.join(lines) + end * int(rng.choice([0, 1, 1, 3])), places
