"""The events table into any annotation format, such that its reader gives the table back."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from g5.common.atomic import atomic_path
from g5.common.errors import UserError
from g5.common.files import base_name
from g5.common.spreadsheet import guarded
from preprocessing.annotations.dcase import DCASE_COLUMNS
from preprocessing.annotations.raven import RAVEN_COLUMNS
from preprocessing.annotations.table import unwrapped
from preprocessing.events import EVENT_COLUMNS

SUFFIXES = {
    "raven": ".selections.txt", "audacity": ".txt", "csv": ".csv", "dcase": ".csv",
    "parquet": ".parquet", "birdnet": ".BirdNET.results.csv", "textgrid": ".TextGrid",
    "labelstudio": ".labelstudio.json",
}  # fmt: skip
# Those of one recording each.
OF_ONE = ("audacity", "textgrid")
_RAVEN_NAMES = {
    "low_hz": "Low Freq (Hz)", "high_hz": "High Freq (Hz)", "label": "Annotation",
    "score": "Score", "distance": "Distance", "nearest": "Nearest",
}  # fmt: skip
_RAVEN_ROUNDED = ("start_s", "end_s", "low_hz", "high_hz")  # people read these tables


def write_events(events: pd.DataFrame, path: str | Path, format: str) -> Path:
    """Write events in one of the formats of `SUFFIXES`; the file appears whole or not at all.

    Numbers keep every bit. What a format has no place for is left out:

    * ``raven``: all is kept, times to the microsecond; ``status`` only where some event is no POS.
    * ``audacity``: of one recording, whose name the file should have; times, label and band.
    * ``csv``, ``parquet``: everything is kept.
    * ``dcase``: the name of the recording and times, as the challenge wants predictions; where
      some event is no POS, a ``Q`` column with the status.
    * ``birdnet``: recording, times, label (as either name) and score, as BirdNET-Analyzer's CSV.
    * ``textgrid``: of one recording; times and labels, in as many tiers as overlap.
    * ``labelstudio``: recording, times, label and score, as predictions to be imported.

    Args:
        events: `EVENT_COLUMNS`, and whatever else it has; ``row`` is not written.
        path: the file.
        format: a key of `SUFFIXES`.

    Raises:
        UserError: no such format, several recordings where there may be one, an event without
            length in a TextGrid, or nowhere to write.
    """
    path = Path(path)
    if format not in _WRITERS:
        raise UserError(f"{format!r} is no format of events; choose from {', '.join(_WRITERS)}")
    with atomic_path(path) as temporary:
        if format in OF_ONE:
            _refuse_several(events, format)
        _WRITERS[format](events.drop(columns="row", errors="ignore"), temporary)
    return path


def write_tables(events: pd.DataFrame, out: Path, format: str) -> list[Path]:
    """`write_events`, into a folder with a table for each where there are several recordings and
    the format is of one.

    Raven's is, too: only then are its times those that its window shows.
    """
    files = list(events["file"].unique())
    if format not in OF_ONE and (format != "raven" or len(files) < 2):
        return [write_events(events, out, format)]
    if len(files) < 2 and (out.suffix or not files) and not out.is_dir():
        return [write_events(events, out, format)]
    folder = out.with_name(out.name.removesuffix(".txt").removesuffix(".selections"))
    written = []
    for file in files:
        stem = re.sub(r"[/\\:]+", "_", str(file).removesuffix(Path(file).suffix)).strip("_")
        rows = events.loc[events["file"] == file].reset_index(drop=True)
        written.append(write_events(rows, folder / f"{stem}{SUFFIXES[format]}", format))
    return written


def _write_raven(events: pd.DataFrame, path: Path) -> None:
    size, events = len(events), events.round(dict.fromkeys(_RAVEN_ROUNDED, 6))
    own = {name: events[name] for name in ("Selection", "View", "Channel") if name in events}
    columns: dict[str, Any] = {
        "Selection": range(1, size + 1), "View": ["Spectrogram 1"] * size, "Channel": [1] * size,
        **own,
        RAVEN_COLUMNS[0]: events["start_s"], RAVEN_COLUMNS[1]: events["end_s"],
        "Begin File": [base_name(str(file)) for file in events["file"]],
        "Begin Path": events["file"],
        # From the head of the recording, as all our times are.
        "File Offset (s)": events["start_s"],
    }  # fmt: skip
    columns |= {theirs: events[ours] for ours, theirs in _RAVEN_NAMES.items() if ours in events}
    if set(events["status"]) - {"POS"}:
        columns["Status"] = events["status"]
    used = {*EVENT_COLUMNS, *_RAVEN_NAMES, *own}
    _write_table(path, _with_extras(columns, events, used), "\t", quoted=False)


def _write_csv(events: pd.DataFrame, path: Path) -> None:
    columns: dict[str, Any] = {name: events[name] for name in EVENT_COLUMNS}
    _write_table(path, _with_extras(columns, events, set(EVENT_COLUMNS)), ",")


def _write_dcase(events: pd.DataFrame, path: Path) -> None:
    names = [base_name(str(file)) for file in events["file"]]
    columns: dict[str, Any] = dict(
        zip(DCASE_COLUMNS, (names, events["start_s"], events["end_s"]), strict=True)
    )
    if set(events["status"]) - {"POS"}:
        columns["Q"] = events["status"]
    _write_table(path, columns, ",")


def _write_audacity(events: pd.DataFrame, path: Path) -> None:
    banded = {"low_hz", "high_hz"} <= set(events.columns)
    with _open(path) as out:
        for event in events.to_dict("records"):
            times = (event["start_s"], event["end_s"])
            out.write("\t".join((*map(_cell, times), _cell(event["label"]))) + "\n")
            limits = (event["low_hz"], event["high_hz"]) if banded else (np.nan, np.nan)
            if not np.isnan(limits).any():
                out.write("\t".join(("\\", *map(_cell, limits))) + "\n")


def _refuse_several(events: pd.DataFrame, format: str) -> None:
    files = list(events["file"].unique())
    if len(files) > 1:
        what = {"audacity": "an Audacity label track", "textgrid": "a TextGrid"}[format]
        raise UserError(
            f"{what} holds one recording, not {len(files)} ({files[0]}, {files[1]}, ...); write "
            "one file for each"
        )


def _write_birdnet(events: pd.DataFrame, path: Path) -> None:
    size = len(events)
    columns = {
        "Start (s)": events["start_s"], "End (s)": events["end_s"],
        "Scientific name": events["label"], "Common name": events["label"],
        "Confidence": events["score"] if "score" in events else [""] * size,
        "File": events["file"],
    }  # fmt: skip
    _write_table(path, columns, ",")


def _write_textgrid(events: pd.DataFrame, path: Path) -> None:
    """Each tier is without overlaps, and filled up with empty intervals."""
    tiers: list[list[tuple[float, float, str]]] = []
    columns = (events[name] for name in ("start_s", "end_s", "label"))
    for start_s, end_s, label in sorted(zip(*columns, strict=True)):
        if not 0 <= start_s < end_s:
            raise UserError(
                f"{start_s:g} to {end_s:g} s is no interval of a TextGrid; leave it out"
            )
        free = next((tier for tier in tiers if tier[-1][1] <= start_s), None)
        if free is None:
            tiers.append(free := [])
        free.append((start_s, end_s, label))
    last_s = max((tier[-1][1] for tier in tiers), default=1.0)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", _cell(last_s)]
    lines += ["<exists>", str(max(1, len(tiers)))]
    for number, tier in enumerate(tiers or [[]], start=1):
        rows, at = [], 0.0
        for start_s, end_s, label in tier:
            rows += [(at, start_s, "")] if at < start_s else []
            rows.append((start_s, end_s, _text(label).replace('"', '""')))
            at = end_s
        rows += [(at, last_s, "")] if at < last_s else []
        lines += ['"IntervalTier"', f'"calls {number}"', "0", _cell(last_s), str(len(rows))]
        lines += [f'{_cell(float(a))}\n{_cell(float(b))}\n"{text}"' for a, b, text in rows]
    with _open(path) as out:
        out.write("\n".join(lines) + "\n")


def _write_labelstudio(events: pd.DataFrame, path: Path) -> None:
    tasks = []
    scores = events["score"] if "score" in events else pd.Series(np.nan, events.index)
    for file, rows in events.assign(score=scores).groupby("file", sort=False):
        columns = (rows[name] for name in ("start_s", "end_s", "label", "score"))
        result = [
            {
                "from_name": "label", "to_name": "audio", "type": "labels",
                "value": {"start": start_s, "end": end_s, "labels": [label]},
                **({} if np.isnan(score) else {"score": score}),
            }
            for start_s, end_s, label, score in zip(*columns, strict=True)
        ]  # fmt: skip
        tasks.append({"data": {"audio": file}, "predictions": [{"result": result}]})
    with _open(path) as out:
        json.dump(tasks, out, ensure_ascii=False, indent=1)


def _write_parquet(events: pd.DataFrame, path: Path) -> None:
    events.to_parquet(path, index=False)


_WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "raven": _write_raven,
    "audacity": _write_audacity,
    "csv": _write_csv,
    "dcase": _write_dcase,
    "parquet": _write_parquet,
    "birdnet": _write_birdnet,
    "textgrid": _write_textgrid,
    "labelstudio": _write_labelstudio,
}


def _with_extras(columns: dict[str, Any], events: pd.DataFrame, used: set[str]) -> dict[str, Any]:
    """``columns``, and those of the events that are not ``used``, under names that differ."""
    columns = dict(columns)
    taken = {name.casefold() for name in columns}
    for name in events.columns:
        if name in used:
            continue
        new = _text(str(name))
        while new.casefold() in taken:
            new = f"{new} (2)"
        taken.add(new.casefold())
        columns[new] = events[name]
    return columns


def _write_table(
    path: Path, columns: dict[str, Any], separator: str, *, quoted: bool = True
) -> None:
    with _open(path) as out:
        how = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE  # cells hold no separator then
        mark = '"' if quoted else None
        writer = csv.writer(
            out, delimiter=separator, lineterminator="\n", quoting=how, quotechar=mark
        )
        cells = [[_cell(value) for value in column] for column in columns.values()]
        if quoted:  # a CSV, which spreadsheets open
            columns = {guarded(name): column for name, column in columns.items()}
            cells = [
                [guarded(cell) if isinstance(value, str) else cell for value, cell in pairs]
                for pairs in map(zip, columns.values(), cells)
            ]
        writer.writerow(columns)
        if not quoted:
            cells = [[_wrapped(cell) for cell in column] for column in cells]
        writer.writerows(zip(*cells, strict=True))


def _open(path: Path) -> TextIO:
    return open(path, "w", encoding="utf-8", newline="")


def _cell(value: object) -> str:
    """Numbers to their last bit without an exponent, which not every program reads; else text."""
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else np.format_float_positional(value, trim="-")
    return "" if value is None or value is pd.NA else _text(str(value))


def _wrapped(cell: str) -> str:
    """A cell that a reader would unwrap, such that it gets it back."""
    return cell if unwrapped(cell) == cell else '"' + cell.replace('"', '""') + '"'


def _text(text: str) -> str:
    """On one line and in one cell: tabs and ends of lines become blanks."""
    return re.sub(r"[^\S ]|\0", " ", text).strip()
