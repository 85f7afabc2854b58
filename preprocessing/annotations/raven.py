"""Reader of Raven selection tables."""

from pathlib import Path

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
from preprocessing.events import STATUSES, Problem, at_rows

RAVEN_COLUMNS = ("Begin Time (s)", "End Time (s)")
RAVEN_LABELS = ("Annotation", "Species", "Label")
# Columns that become something of ours; all others are kept as they are.
_USED = (
    *RAVEN_COLUMNS, "Begin Path", "Begin File", "File Offset (s)", "Low Freq (Hz)",
    "High Freq (Hz)", "Score", "Confidence", "Distance", "Nearest", "Status",
)  # fmt: skip


def raven_rows(table: Table, how: Reading) -> Rows:
    """The selections of a Raven table; one that is shown in several views counts once.

    ``audio`` is ``Begin Path`` or ``Begin File``, or "" where the table has neither (it then
    belongs to the recording it is named after). Where there is a ``File Offset (s)``, times are
    from the head of that file, not of the whole sequence of files.

    Returns:
        Beside the columns of every reader ``low_hz`` and ``high_hz`` (NaN where a selection has no
        band), ``score``, ``distance`` and ``nearest`` (as `write_events` writes them; a BirdNET
        ``Confidence`` is a score), each where the table has it, and the other columns as text.

    Raises:
        UserError: no label column and no default, or several files without offsets.
    """
    name = _raven_label(table, how)
    label = table.text(name) if name else np.full(len(table.rows), how.default_label, dtype=object)
    start_s, end_s = (table.seconds(name) for name in RAVEN_COLUMNS)
    source = next((name for name in ("Begin Path", "Begin File") if table.has(name)), "")
    audio = table.text(source)
    if source and table.has("File Offset (s)"):
        offset_s = table.seconds("File Offset (s)")
        # Raven counts through a sequence of files: the times in this file are wanted.
        moved = offset_s != start_s
        start_s, end_s = offset_s, np.where(moved, offset_s + (end_s - start_s), end_s)
    elif len(set(audio)) > 1:
        raise UserError(
            f"{table.path}: spans {len(set(audio))} recordings but has no column "
            "`File Offset (s)`; let Raven show that measurement and save the table again"
        )
    unlabelled = table.good & (label == "")
    if unlabelled.any():
        where = at_rows(str(table.path), table.rows[unlabelled])
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
    keep = table.good & ~unlabelled & ~_other_views(table, rows)
    return chosen(rows, keep)


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


def _other_views(table: Table, rows: Rows) -> np.ndarray:
    """Raven writes a selection once for each view (waveform, spectrogram): mark the repeats."""
    if not table.has("View"):
        return np.zeros(len(table.rows), dtype=bool)
    keys = pd.DataFrame({name: rows[name] for name in ("audio", "start_s", "end_s", "label")})
    return keys.assign(number=table.text("Selection")).duplicated().to_numpy()


def recording_of(path: Path) -> str:
    """The recording's name in ``<stem>.Table.1.selections.txt`` and its shorter forms."""
    parts = path.name.split(".")[:-1]
    if len(parts) > 1 and parts[-1].lower() == "selections":
        parts.pop()
        if len(parts) > 2 and parts[-1].isdigit() and parts[-2].lower() == "table":
            del parts[-2:]
    return ".".join(parts)
