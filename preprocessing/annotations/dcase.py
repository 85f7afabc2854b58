"""Reader of DCASE few-shot CSVs, one column per class, ``CALL`` or ``Q``."""

from pathlib import Path

import numpy as np

from g5.common.files import base_name
from preprocessing.annotations.table import Rows, Table, UnknownFormat, among, chosen
from preprocessing.events import STATUSES, Problem

DCASE_COLUMNS = ("Audiofilename", "Starttime", "Endtime")
RECORDING, SUBSET = "recording", "subset"


def read_dcase(path: Path, *, q_class: str) -> tuple[Rows, list[Problem]]:
    """Read a DCASE few-shot CSV of any of its three kinds.

    ``Audiofilename,Starttime,Endtime`` and then either one column per class, or one ``CALL``
    column (the class is the name of the folder), or one ``Q`` column (the class is the recording
    or the folder, as ``q_class`` says). Each POS, UNK and NEG is an event of its own.

    Raises:
        UnknownFormat: another header.
        UserError: unreadable as a table.
    """
    table = Table.read(path, DCASE_COLUMNS, "\t,;")
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
        table.refuse(~among(status, STATUSES), name, status, "POS, NEG or UNK")
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
    return chosen(rows, np.repeat(table.good, len(classes))), table.problems


def read_dcase_events(path: Path) -> tuple[Rows, list[Problem]]:
    """Read a DCASE few-shot CSV of annotations or of predictions, which has no class column.

    Each POS, UNK and NEG of a class column is an event, labelled with the class. What a ``Q``
    column says, and a prediction, which is POS, is of the recording's own class: its name.

    Raises:
        UserError: as `read_dcase`.
    """
    table = Table.read(path, DCASE_COLUMNS, ",;\t")
    known = {name.casefold() for name in DCASE_COLUMNS}
    classes = [name for name in table.names if name.casefold() not in known]
    if classes and [name.casefold() for name in classes] != ["q"]:
        return read_dcase(path, q_class=RECORDING)
    audio = table.text("Audiofilename")
    table.refuse(audio == "", "Audiofilename", audio, "the name of a recording")
    status = np.full(len(audio), "POS", dtype=object)
    if classes:
        status = table.text("Q", str.upper)
        table.refuse(~among(status, STATUSES), "Q", status, "POS, NEG or UNK")
    stems = {name: Path(base_name(name)).stem for name in set(audio)}
    rows = {
        "audio": audio,
        "start_s": table.seconds("Starttime"),
        "end_s": table.seconds("Endtime"),
        "label": np.array([stems[name] for name in audio], dtype=object),
        "status": status,
        "row": table.rows,
    }
    return chosen(rows, table.good), table.problems


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
