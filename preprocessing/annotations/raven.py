"""Reader of Raven selection tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from preprocessing.annotations.table import (
    Reading,
    Rows,
    Table,
    among,
    band,
    chosen,
    label_column,
)
from preprocessing.events import STATUSES, Problem

RAVEN_COLUMNS = ("Begin Time (s)", "End Time (s)")
RAVEN_LABELS = ("Annotation", "Species", "Label")
# Offsets that differ by less are one.
STILL_S = 1e-3
# Columns that become something of ours; all others are kept as they are.
_USED = (
    *RAVEN_COLUMNS, "Begin Path", "Begin File", "File Offset (s)", "Low Freq (Hz)",
    "High Freq (Hz)", "Score", "Confidence", "Distance", "Nearest", "Status",
)  # fmt: skip


def raven_rows(table: Table, how: Reading) -> Rows:
    """The selections of a Raven table; one that is shown in several views counts once.

    ``audio`` is the row's ``Begin Path`` or else ``Begin File``, or "" where it has neither (it
    then belongs to the recording that the table is named after). Where there is a ``File Offset
    (s)``, times are from the head of that file, not of the whole sequence of files.

    Returns:
        Beside the columns of every reader ``low_hz`` and ``high_hz`` (NaN where a selection has no
        band), ``score``, ``distance`` and ``nearest`` (as `write_events` writes them; a BirdNET
        ``Confidence`` is a score), each where the table has it, and the other columns as text.

    Raises:
        UserError: no label column and no default, or several files without offsets.
    """
    name = _raven_label(table, how)
    size = len(table.rows)
    label = table.repeated(name) if name else np.full(size, how.default_label, dtype=object)
    start_s, end_s = (table.seconds(name) for name in RAVEN_COLUMNS)
    named, path = table.has("Begin Path") or table.has("Begin File"), table.repeated("Begin Path")
    audio = np.where(path == "", table.repeated("Begin File"), path)
    if named and table.has("File Offset (s)"):
        offset_s = _offsets(table, audio, start_s)
        # Raven counts through a sequence of files: the times in this file are wanted.
        moved = offset_s != start_s
        start_s, end_s = offset_s, np.where(moved, offset_s + (end_s - start_s), end_s)
    elif len(set(audio)) > 1:
        raise UserError(
            f"{table.path}: spans {len(set(audio))} recordings but has no column "
            "`File Offset (s)`; let Raven show that measurement and save the table again"
        )
    group = _views(table, audio, start_s, end_s)
    if group is not None:
        label = _shared_text(label, group)
    unlabelled = table.good & (label == "")
    if unlabelled.any():
        where = table.at(unlabelled)
        message = "the label is empty; the selection is left out"
        table.problems.append(Problem("no-label", where, message, False))
    rows = {
        "audio": audio,
        "start_s": start_s,
        "end_s": end_s,
        "label": label,
        "status": _status(table),
        "row": table.rows,
        **_measured(table),
        **table.extras((*_USED, name)),
    }
    keep = table.good & ~unlabelled
    if group is None:
        return chosen(rows, keep)
    return _merged(chosen(rows, keep), group[keep])


def _offsets(table: Table, audio: np.ndarray, start_s: np.ndarray) -> np.ndarray:
    """Where selections start in their files.

    An offset that stands still while the times of one file run on is none: a converter's. Of a
    single file the times say the same.

    Raises:
        UserError: such offsets in a table of several files.
    """
    offset_s = table.seconds("File Offset (s)")
    facts: Any = pd.DataFrame({"audio": audio, "start": start_s, "offset": offset_s})[table.good]
    spread: Any = facts.groupby("audio")[["start", "offset"]].agg(np.ptp)
    stale = spread.index[(spread["start"] > STILL_S) & (spread["offset"] <= STILL_S)]
    if not len(stale):
        return offset_s
    message = (
        f"`File Offset (s)` is {facts['offset'].iloc[0]:g} in every row of "
        f"{stale[0] or 'its recording'}, while `Begin Time (s)` runs on"
    )
    if len(spread) > 1:
        raise UserError(f"{table.path}: {message}; let Raven measure it and save the table again")
    message += "; the begin times are taken"
    table.problems.append(Problem("stale-offset", str(table.path), message, False))
    return start_s


def _status(table: Table) -> np.ndarray:
    """POS, unless a column says otherwise in our own words for every selection."""
    status = table.text("Status", str.upper)
    if table.has("Status") and among(status, STATUSES).all():
        return status
    return np.full(len(status), "POS", dtype=object)


def _measured(table: Table) -> Rows:
    """The band, and what a detector has to say of its detections."""
    rows: Rows = {}
    if table.has("Low Freq (Hz)") and table.has("High Freq (Hz)"):
        rows |= band(table, "Low Freq (Hz)", "High Freq (Hz)")
    elif table.has("Low Freq (kHz)") and table.has("High Freq (kHz)"):  # DeepSqueak
        limits = band(table, "Low Freq (kHz)", "High Freq (kHz)")
        rows |= {name: 1000 * values for name, values in limits.items()}
    for ours, theirs in (("score", "Confidence"), ("score", "Score"), ("distance", "Distance")):
        if table.has(theirs):
            rows[ours] = table.numbers(theirs)
    if table.has("Nearest"):
        rows["nearest"] = table.text("Nearest")
    return rows


def _raven_label(table: Table, how: Reading) -> str:
    """The name of the column with the class; "" if there is none and a default will do."""
    wanted = RAVEN_LABELS if how.label_column == "auto" else (how.label_column,)
    if not any(map(table.has, wanted)):
        if how.label_column == "auto" and table.has("Common Name"):  # written by BirdNET
            return "Common Name"
        if how.default_label is not None:
            message = f"has no column {' or '.join(wanted)}; its selections are called "
            message += repr(how.default_label)
            table.problems.append(Problem("no-label", str(table.path), message, False))
            return ""
    return label_column(table, wanted)


def _views(
    table: Table, audio: np.ndarray, start_s: np.ndarray, end_s: np.ndarray
) -> np.ndarray | None:
    """The selection that each row shows: Raven writes one for each view (waveform, spectrogram)."""
    if not (table.has("View") and table.has("Selection")):
        return None
    keys = pd.DataFrame(
        {"audio": audio, "start": start_s, "end": end_s, "number": table.text("Selection")}
    )
    return keys.groupby(list(keys), sort=False, dropna=False).ngroup().to_numpy()


def _shared_text(texts: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Texts, those that are empty as in another row of the group."""
    known = pd.Series(texts, dtype=object).where(texts != "", None)
    return known.groupby(group).transform("first").where(known.isna(), known).fillna("").to_numpy()


def _merged(rows: Rows, group: np.ndarray) -> Rows:
    """One row for each selection and label; what its first view does not tell, another does."""
    table = pd.DataFrame(rows).assign(group=group)
    keys = ["group", "label"]
    again = table.duplicated(keys).to_numpy()
    if not again.any():
        return rows
    for name in rows:
        if name not in keys:
            column = table[name].astype(object)
            filled = column.where((column != "") & column.notna(), None)
            table[name] = filled.groupby([table[key] for key in keys]).transform("first")
            empty = "" if rows[name].dtype == object else np.nan
            rows[name] = table[name].fillna(empty).to_numpy(dtype=rows[name].dtype)
    return chosen(rows, ~again)


def recording_of(path: Path) -> str:
    """The recording's name in ``<stem>.Table.1.selections.txt``, ``<stem>.BirdNET.results.csv``
    and their shorter forms."""
    parts = path.name.split(".")[:-1]
    lower = [part.lower() for part in parts]
    if "birdnet" in lower[1:]:
        return ".".join(parts[: lower.index("birdnet", 1)])
    if len(parts) > 1 and parts[-1].lower() == "selections":
        parts.pop()
        if len(parts) > 2 and parts[-1].isdigit() and parts[-2].lower() == "table":
            del parts[-2:]
    return ".".join(parts)
