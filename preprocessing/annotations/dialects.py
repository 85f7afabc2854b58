"""The dialects of annotation tables: how each is recognised, and what its columns mean.

A new dialect with a header is one entry of `DIALECTS`: a name, an example, whether a header is
its own, and a function from a `Table` to `Rows` (`mapped_rows` where its columns are in `COLUMNS`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from preprocessing.annotations.audacity import audacity_rows
from preprocessing.annotations.clips import CLIPS_COLUMNS, clips_rows
from preprocessing.annotations.columns import (
    ASIDE,
    COLUMN_NAMES,
    COLUMNS,
    SYNONYMS,
    ours,
    plain,
)
from preprocessing.annotations.dcase import DCASE_COLUMNS, dcase_rows
from preprocessing.annotations.numbers import as_float
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
from preprocessing.events import STATUSES, Problem

# Those of `COLUMNS` that an event has.
EVENT_NAMES = tuple(name for name in COLUMNS if name not in ("source", "date"))
# Of a list of labels or clips, others that somebody may name.
LIST_NAMES = ("source", "individual", "rating", "split", "fold")
PRESENT, ABSENT = ("1", "1.0", "true"), ("0", "0.0", "false", "")
_R_BIRDNET = ("filepath", "start", "end", "scientific_name", "common_name", "confidence")
_WARBLER = ("sound.files", "selec", "start", "end")
_KALEIDOSCOPE = ("IN FILE", "OFFSET", "DURATION")
# What Kaleidoscope itself thinks of a row that nobody has named.
_KALEIDOSCOPE_GUESSES = ("AUTO ID", "AUTO ID*", "TOP1MATCH*", "TOP1MATCH")
# As scripts/utils/reporting.py of Nachtzuster/BirdNET-Pi writes them.
_BIRDNET_PI = ("Date", "Time", "Sci_Name", "Com_Name", "Confidence")
# Of the clip that it keeps of a detection, in which that lies, where nobody set another; seconds.
_BIRDNET_PI_CLIP_S = 6.0
_ARBIMON = {"start_s": "x1", "end_s": "x2", "low_hz": "y1", "high_hz": "y2"}


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


def _any_of(*tests: Callable[[Sequence[str]], bool]) -> Callable[[Sequence[str]], bool]:
    return lambda columns: any(test(columns) for test in tests)


def _is_plain(columns: Sequence[str]) -> bool:
    found = ours(columns)
    return "start_s" in found and ("end_s" in found or "duration_s" in found)


def mapped_rows(table: Table, how: Reading) -> Rows:
    """The events of a table whose columns are ours under one of their names in `COLUMNS`.

    Raises:
        UnknownFormat: no times, or no column is a class and several might be.
    """
    found = ours(table.names, EVENT_NAMES)
    if not _is_plain(table.names):
        raise UnknownFormat(
            f"{table.path}: has no columns start_s and end_s (it has {', '.join(table.names)})"
        )
    if "end_s" in found:
        found.pop("duration_s", None)
    if how.label_column != "auto":
        found["label"] = label_column(table, (how.label_column,))
    rows = _basic(table, found)
    if "label" not in found:
        classes = _one_hot(table, found)
        if classes:
            return _one_hot_rows(table, rows, classes)
        _refuse_unknown(table, found)
    elif how.label_column == "auto" and "label" not in how.columns:
        _tell_other_labels(table, found["label"])
    if "status" in found:
        rows["status"] = table.text(found["status"], str.upper)
        table.refuse(~among(rows["status"], STATUSES), found["status"], rows["status"],
                     "POS, NEG or UNK")  # fmt: skip
    rows |= _band(table, found)
    for name in ("score", "distance"):
        if name in found:
            rows[name] = table.numbers(found[name])
    if "nearest" in found:
        rows["nearest"] = table.text(found["nearest"])
    rows |= table.extras(found.values())
    return chosen(rows, table.good)


def _basic(table: Table, found: Mapping[str, str]) -> Rows:
    """Recording, times and label; "" where the table does not say."""
    start_s = table.seconds(found["start_s"])
    last_s = table.seconds(found.get("end_s", found.get("duration_s", "")))
    return {
        "audio": table.repeated(found.get("file", "")),
        "start_s": start_s,
        "end_s": last_s if "end_s" in found else start_s + last_s,
        "label": table.repeated(found.get("label", "")),
        "status": np.full(len(table.rows), "POS", dtype=object),
        "row": table.rows,
    }


def _band(table: Table, found: Mapping[str, str]) -> Rows:
    """The band in Hz, whichever unit the table has."""
    for unit, times in (("hz", 1.0), ("khz", 1000.0)):
        if {f"low_{unit}", f"high_{unit}"} <= set(found):
            limits = band(table, found[f"low_{unit}"], found[f"high_{unit}"])
            return {name: values * times for name, values in limits.items()}
    return {}


def _unknown(table: Table, found: Mapping[str, str]) -> list[str]:
    """Columns that are neither ours nor what programs write beside an event."""
    known = {name.casefold() for name in found.values()}
    return [
        name for name in table.names
        if name.casefold() not in known and plain(name) not in ASIDE
        and plain(name) not in COLUMN_NAMES
    ]  # fmt: skip


def _refuse_unknown(table: Table, found: Mapping[str, str]) -> None:
    unknown = _unknown(table, found)
    if unknown:
        raise UnknownFormat(
            f"{table.path}: has no column label for the class (it has {', '.join(table.names)}); "
            f"rename the one that is (data.label_column says it for training), or remove "
            f"{', '.join(unknown)}"
            # Where no row is whole, none tells that the columns hold 0 and 1.
            + "".join(f"; {problem}" for problem in table.problems[:1] if problem.fatal)
        )


def _tell_other_labels(table: Table, taken: str) -> None:
    others = [
        name for name in table.names
        if plain(name) in COLUMNS["label"] and name != taken
        and not {plain(name), plain(taken)} <= SYNONYMS
    ]  # fmt: skip
    if others:
        message = f"has the columns {' and '.join([taken, *others])}; {taken} is taken as the class"
        table.problems.append(Problem("label-column", str(table.path), message, False))


def _one_hot(table: Table, found: Mapping[str, str]) -> list[str]:
    """The classes of OpenSoundscape's tables, a column each with 0 or 1; else none.

    Raises:
        UnknownFormat: the columns hold scores.
    """
    classes = _unknown(table, found)
    rows = table.good if table.good.any() else slice(None)
    cells = {cell for name in classes for cell in table.text(name, str.casefold)[rows]}
    if not classes or not cells or not {"file", "end_s"} <= set(found):
        return []
    if cells <= {*PRESENT, *ABSENT}:
        return classes
    if all(np.isfinite(as_float(cell)) for cell in cells - {"", "nan"}):
        raise UnknownFormat(
            f"{table.path}: has numbers in {', '.join(classes)} and no column for the class; if "
            "they are scores, keep those above a threshold as rows of file, start_s, end_s, label "
            "and score"
        )
    return []


def _one_hot_rows(table: Table, rows: Rows, classes: Sequence[str]) -> Rows:
    present = np.stack([among(table.text(name, str.casefold), PRESENT) for name in classes], axis=1)
    present &= table.good[:, None]
    at, which = np.nonzero(present)
    labels = np.array(classes, dtype=object)[which]
    return {name: column[at] for name, column in rows.items()} | {"label": labels}


def _kaleidoscope_rows(table: Table, how: Reading) -> Rows:
    """`mapped_rows`, with the folder before the name, and its guess where nobody gave a name."""
    rows = mapped_rows(table, how)
    for name in _KALEIDOSCOPE_GUESSES if how.label_column == "auto" else ():
        if name in rows:
            rows["label"] = np.where(rows["label"] == "", rows[name], rows["label"])
    folders = rows.get("FOLDER")
    if folders is not None:
        rows["audio"] = np.array(
            [f"{a}/{b}" if a else b for a, b in zip(folders, rows["audio"], strict=True)], object
        )
    return rows


def _arbimon_rows(table: Table, how: Reading) -> Rows:
    """`mapped_rows`; boxes are in seconds and Hz."""
    return mapped_rows(table.renamed(_ARBIMON), how)


def _birdnet_pi_rows(table: Table, how: Reading) -> Rows:
    """The detections of BirdNET-Pi's database, each of the clip that it has kept."""
    if not table.has("File_Name"):
        raise UnknownFormat(
            f"{table.path}: is BirdNET-Pi's, and says when but not in which file; export the table "
            "detections of its birds.db, which has File_Name"
        )
    used = {"label": "Com_Name" if how.label_column == "auto" else how.label_column}
    used["label"] = label_column(table, (used["label"],))
    size = len(table.rows)
    message = f"does not say where in its clip a call is; the clip's {_BIRDNET_PI_CLIP_S:g} s count"
    table.problems.append(Problem("whole-clip", str(table.path), message, False))
    rows = {
        "audio": table.repeated("File_Name"),
        "start_s": np.zeros(size),
        "end_s": np.full(size, _BIRDNET_PI_CLIP_S),
        "label": table.repeated(used["label"]),
        "status": np.full(size, "POS", dtype=object),
        "row": table.rows,
        "score": table.numbers("Confidence"),
    }
    return chosen(rows | table.extras(["File_Name", "Confidence", used["label"]]), table.good)


def _without_header(_: Sequence[str]) -> bool:
    return False


# Recognised by the file, not by a header.
AUDACITY = Dialect("audacity", "Audacity label track", _without_header, audacity_rows)
PARQUET = Dialect("parquet", "Parquet table", _without_header, mapped_rows)
TEXTGRID = Dialect("textgrid", "Praat TextGrid", _without_header, mapped_rows)
JSON = Dialect("json", "JSON of batdetect2, whombat or Label Studio", _without_header, mapped_rows)
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
            _any_of(_all_of("Start (s)", "End (s)", "Confidence"), _all_of(*_R_BIRDNET)),
            mapped_rows,
        ),
        Dialect(
            "birdnetpi", "BirdNET-Pi's detections (Date, Time, Com_Name, Confidence, File_Name)",
            _all_of(*_BIRDNET_PI), _birdnet_pi_rows,
        ),
        Dialect(
            "warbler", "warbleR table (sound.files, selec, start, end)",
            _all_of(*_WARBLER), mapped_rows,
        ),
        Dialect(
            "kaleidoscope", "Kaleidoscope CSV (IN FILE, OFFSET, DURATION)",
            _all_of(*_KALEIDOSCOPE), _kaleidoscope_rows,
        ),
        Dialect(
            "arbimon", "Arbimon table (species, x1, x2, y1, y2)",
            _all_of("species", *_ARBIMON.values()), _arbimon_rows,
        ),
        Dialect("csv", "plain CSV (file, start_s, end_s, label)", _is_plain, mapped_rows),
        AUDACITY,
        PARQUET,
        TEXTGRID,
        JSON,
        Dialect("clips", "list of clips (file, label)", _all_of(*CLIPS_COLUMNS), clips_rows),
    )
}  # fmt: skip
# The dialects whose rows have times.
EVENTS = tuple(name for name in DIALECTS if name != "clips")
