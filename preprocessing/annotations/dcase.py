"""Reader of DCASE few-shot CSVs, one column per class, ``CALL`` or ``Q``."""

from pathlib import Path

import numpy as np

from g5.common.files import base_name
from preprocessing.annotations.table import Reading, Rows, Table, UnknownFormat, among, chosen
from preprocessing.events import STATUSES

DCASE_COLUMNS = ("Audiofilename", "Starttime", "Endtime")
RECORDING, SUBSET = "recording", "subset"


def dcase_rows(table: Table, how: Reading) -> Rows:
    """The events of a DCASE few-shot CSV: each POS, UNK and NEG is one.

    ``Audiofilename,Starttime,Endtime`` and then either one column per class, or one ``CALL``
    column (the class is the name of the folder), or one ``Q`` column (the class is the recording
    or the folder), or, as predictions have it, none: then all are POS.

    Raises:
        UnknownFormat: no class column, where there must be one.
    """
    known = {name.casefold() for name in DCASE_COLUMNS}
    classes = [name for name in table.names if name.casefold() not in known]
    if not classes and how.q_class is not None:
        raise UnknownFormat(f"{table.path}: has no class column after {', '.join(DCASE_COLUMNS)}")
    audio = table.repeated("Audiofilename")
    start_s, end_s = table.seconds("Starttime"), table.seconds("Endtime")
    table.refuse(audio == "", "Audiofilename", audio, "the name of a recording")
    labels, statuses = [], []
    for name in classes:
        status = table.text(name, str.upper)
        table.refuse(~among(status, STATUSES), name, status, "POS, NEG or UNK")
        statuses.append(status)
        labels.append(_dcase_label(table.path, audio, name, len(classes), how.q_class))
    if not classes:
        statuses.append(np.full(len(audio), "POS", dtype=object))
        labels.append(_stems(audio))
    n = len(labels)
    rows = {
        "audio": np.repeat(audio, n),
        "start_s": np.repeat(start_s, n),
        "end_s": np.repeat(end_s, n),
        "label": np.stack(labels, axis=1).ravel(),
        "status": np.stack(statuses, axis=1).ravel(),
        "row": np.repeat(table.rows, n),
    }
    return chosen(rows, np.repeat(table.good, n))


def _dcase_label(
    path: Path, audio: np.ndarray, column: str, n_columns: int, q_class: str | None
) -> np.ndarray:
    folder, label = path.parent.name, column
    if n_columns == 1 and column.casefold() == "q" and q_class != SUBSET:
        # Subsets may number their recordings alike: the folder tells them apart.
        return _stems(audio, "" if q_class is None else f"{folder}/")
    if n_columns == 1 and column.casefold() in ("call", "q"):
        label = folder
    return np.full(len(audio), label, dtype=object)


def _stems(audio: np.ndarray, prefix: str = "") -> np.ndarray:
    """The recordings' names without suffix."""
    labels = {name: prefix + Path(base_name(name)).stem for name in set(audio)}
    return np.array([labels[name] for name in audio], dtype=object)
