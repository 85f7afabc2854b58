"""Reader of lists of clips, ``file,label[,source][,split]``."""

import numpy as np

from preprocessing.annotations.table import Reading, Rows, Table, among, chosen
from preprocessing.events import SPLITS

CLIPS_COLUMNS = ("file", "label")
_SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def clips_rows(table: Table, _: Reading) -> Rows:
    """A list of clips, ``file,label[,source][,split]``; other columns are passed over.

    Beside the columns of every reader there are ``source`` and ``split``, "" where the list has
    none. A clip is one POS event from end to end: ``end_s`` is NaN, its length not yet known.
    """
    audio, label = (table.repeated(name) for name in CLIPS_COLUMNS)
    table.refuse(audio == "", "file", audio, "the name of a recording")
    table.refuse(label == "", "label", label, "a class")
    split = table.text("split", lambda text: _SPLIT_NAMES.get(text.casefold(), text))
    if table.has("split"):
        table.refuse(~among(split, SPLITS), "split", split, "train, val or test")
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
    return chosen(rows, table.good)
