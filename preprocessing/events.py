"""The events table, the corpus of recordings around it, and what can be wrong with them."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.words import on_one_line, some
from preprocessing.audio_rules import READ_ALL, AudioRules

EVENT_COLUMNS = ["file", "start_s", "end_s", "label", "status"]
CORPUS_COLUMNS = [*EVENT_COLUMNS, "split", "source"]
RECORDING_COLUMNS = [
    "file", "duration_s", "rate_hz", "channels", "frames", "sha256", "split", "source",
]  # fmt: skip
STATUSES = ("POS", "UNK", "NEG")
SPLITS = ("train", "val", "test")
# Marks a keyword of a data set, `Annotated[str, INDIFFERENT]`: no recording and no call depends on
# it.
INDIFFERENT = "indifferent"
# Where a call that is longer than a clip is cut.
ANCHORS = ("centre", "loudest", "onset")
# How many problems an error spells out before it sends the reader to `g5 data check`, and how
# many rows a problem names before it counts the rest.
PROBLEMS_SHOWN = 3
ROWS_SHOWN = 5

# Kinds of problems that are told where the data are used, and what several of one are.
TOLD = {
    "unreadable-audio": "recordings cannot be read and are left out",
    "skipped-audio": "recordings are left out", "repaired-audio": "recordings are repaired",
    "unreadable-folder": "folders cannot be entered", "label": "notes on spellings of labels",
    "ditto": "tables have ditto marks", "no-call": "tables name places where nothing called",
    "contradiction": "clips have several labels",
    "folder-classes": "folders are classes",
}  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """One thing that `g5 data check` reports.

    Attributes:
        kind: what sort of thing, e.g. ``"missing-audio"``, ``"overlap"``, ``"split-leak"``.
        where: the file, and the row where there is one (the header is row 1).
        message: what is wrong and what was done, or is to be done, about it.
        fatal: training cannot go on.
    """

    kind: str
    where: str
    message: str
    fatal: bool

    def __str__(self) -> str:
        return on_one_line(f"{self.where}: {self.message}")


def at_rows(path: str, rows: Iterable[int]) -> str:
    """``path`` with the rows a problem is in, the first few spelled out; row 0: the whole file."""
    numbers = sorted({int(row) for row in rows} - {0})
    if not numbers:
        return path
    return f"{path}, row{'s' if len(numbers) > 1 else ''} {some(numbers, ROWS_SHOWN)}"


@dataclass(frozen=True, eq=False)
class Corpus:
    """Recordings with marked calls, parted into train, val and test.

    Attributes:
        events: columns `CORPUS_COLUMNS`, sorted by file, start and end; ``file`` is an absolute
            path, ``source`` is where leakage is judged (the recording, unless the data say
            otherwise).
        recordings: columns `RECORDING_COLUMNS`, one row per file, sorted by file; ``sha256`` is
            of the file's bytes.
        problems: everything found on the way; those that are ``fatal`` stop training.
        test_is_val: there is no test set of its own, and the validation set is tested on.
        split_file: the hash of the split file (`g5 data split`) that parted them; None without one.
        rules: how the recordings are read.
    """

    events: pd.DataFrame
    recordings: pd.DataFrame
    problems: tuple[Problem, ...]
    test_is_val: bool = False
    split_file: str | None = None
    rules: AudioRules = READ_ALL

    def split(self, name: str) -> pd.DataFrame:
        """The POS events of split ``name`` ("train", "val", "test"), rows numbered 0..n-1.

        Beside `CORPUS_COLUMNS` there are ``sha256`` (of the recording) and ``class_id``, the
        index of the label in ``labels(name)``. The table is shared: copy it before a change.
        """
        assert name in SPLITS, name
        return self._splits["val" if name == "test" and self.test_is_val else name]

    @cached_property
    def _splits(self) -> dict[str, pd.DataFrame]:
        tables = {}
        for name in SPLITS:
            chosen = (self.events["split"] == name) & (self.events["status"] == "POS")
            table = self.events.loc[chosen].reset_index(drop=True)
            table["sha256"] = self._hashes(table)
            table["class_id"] = pd.factorize(table["label"], sort=True)[0]
            tables[name] = table
        return tables

    def labels(self, name: str) -> list[str]:
        """The sorted labels that have POS events in split ``name``."""
        return sorted(self.split(name)["label"].unique())

    def recordings_of(self, name: str) -> list[str]:
        """Content hashes of the recordings with POS events in split ``name``, 16 hex digits."""
        return sorted({sha256[:16] for sha256 in self.split(name)["sha256"]})

    def raise_if_fatal(self) -> None:
        """Raise one `UserError` with the first fatal problems; else say what was not read whole."""
        fatal = [problem for problem in self.problems if problem.fatal]
        if not fatal:
            self._tell()
            return
        more = len(fatal) - PROBLEMS_SHOWN
        count = f"{len(fatal)} problems in the data: " if len(fatal) > 1 else ""
        shown = "; ".join(str(problem) for problem in fatal[:PROBLEMS_SHOWN])
        rest = f"; and {more} more" if more > 0 else ""
        raise UserError(f"{count}{shown}{rest}. `g5 data check` lists every problem")

    def _tell(self) -> None:
        for kind, what in TOLD.items():
            found = [problem for problem in self.problems if problem.kind == kind]
            for problem in found[:PROBLEMS_SHOWN]:
                print(f"note: {problem}")
            if len(found) > PROBLEMS_SHOWN:
                print(f"note: {len(found)} {what}; `g5 data check` lists them")

    @cached_property
    def data_hash(self) -> str:
        """Of the recordings' bytes and the events, 16 hex digits; where files lie is no part."""
        table = self.events.assign(sha256=self._hashes(self.events))
        columns = ["sha256", *EVENT_COLUMNS[1:], "split"]
        return _digest(self.recordings.loc[:, ["sha256"]], table.loc[:, columns])

    @cached_property
    def split_hash(self) -> str:
        """Of which class of which recording is in which split, 16 hex digits."""
        table = self.events.assign(sha256=self._hashes(self.events))
        return _digest(table.loc[:, ["sha256", "label", "split"]].drop_duplicates())

    def _hashes(self, table: pd.DataFrame) -> pd.Series:
        known = dict(zip(self.recordings["file"], self.recordings["sha256"], strict=True))
        return pd.Series([known[file] for file in table["file"]], table.index, dtype="str")


class DataSet(ABC):
    """What `data._target_` names: a corpus that is read, or made, when it is asked for.

    Attributes:
        anchor: where a clip of a longer call is cut, one of `ANCHORS`.
    """

    anchor: str

    @abstractmethod
    def load(self, rules: AudioRules = READ_ALL) -> Corpus:
        """Read (or make) recordings and calls; ``rules`` say how sound is read."""


def _digest(*tables: pd.DataFrame) -> str:
    """Of the rows whatever their order; texts by value, numbers by their bits."""
    state = hashlib.sha256()
    for table in tables:
        columns = []
        for name in table:
            values = table[name]
            if values.dtype != np.float64:
                values, texts = pd.factorize(values, sort=True)
                state.update("\n".join(texts).encode())
            columns.append(np.asarray(values))
        order = np.lexsort(columns[::-1])
        for values in columns:
            state.update(np.ascontiguousarray(values[order]).tobytes())
    return state.hexdigest()[:16]
